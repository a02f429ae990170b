"""What can go wrong on the command line, and the exit code each thing has.

    SkimError                      1  anything without a code of its own
    +- UsageError                  2  the call itself is wrong (also Typer's own code)
    +- StackError                  3  the local stack cannot be started, found or stopped
    +- Unreachable                 4  nothing answers at the API's address
    +- Refused                     5  the API answered with a problem
    |  +- Unauthorized             6  no key, or one that is unknown, expired or lacks the scope
    |  +- Missing                  7  no such job, model or key
    +- JobFailed                   8  the job was waited for and ended failed, cancelled or expired
    +- ItemsFailed                 9  the job was waited for and succeeded, but some of its items failed

An interrupted command exits 130. Messages are one line and end without a full stop.
"""

from __future__ import annotations

from typing import ClassVar


class SkimError(Exception):
    """Base of every error the command line reports; `exit_code` is what the shell sees."""

    exit_code: ClassVar[int] = 1


class UsageError(SkimError):
    """The call cannot be carried out as given."""

    exit_code = 2


class StackError(SkimError):
    """The local stack cannot be started, found or stopped."""

    exit_code = 3


class Unreachable(SkimError):
    """Nothing answers at the API's address."""

    exit_code = 4


class Refused(SkimError):
    """The API answered with a problem document."""

    exit_code = 5


class Unauthorized(Refused):
    """The key is absent, unknown, expired or lacks the scope."""

    exit_code = 6


class Missing(Refused):
    """No such job, model or key."""

    exit_code = 7


class JobFailed(SkimError):
    """A job that was waited for ended failed, cancelled or expired."""

    exit_code = 8


class ItemsFailed(SkimError):
    """A job that was waited for succeeded, but not every item did."""

    exit_code = 9
