"""What can go wrong on the command line, and the exit code each thing has: the one place that fixes them.

Messages are one line without a full stop. `skim --help` lists the codes from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

SUCCESS = 0
INTERRUPTED = 130
PIPE_CLOSED = 141


class SkimError(Exception):
    """Base of every error the command line reports; `exit_code` is what the shell sees."""

    exit_code: ClassVar[int] = 1
    meaning: ClassVar[str] = "any other error"


class UsageError(SkimError):
    """The call cannot be carried out as given. Unknown options end with the same code."""

    exit_code = 2
    meaning = "wrong call or unreadable input"


class StackError(SkimError):
    """The local stack cannot be started, found or stopped."""

    exit_code = 3
    meaning = "the local stack is not running or does not start"


class Unreachable(SkimError):
    """Nothing answers at the API's address."""

    exit_code = 4
    meaning = "nothing answers at the API's address"


class Refused(SkimError):
    """The API answered with a problem document."""

    exit_code = 5
    meaning = "the API refused"


class Unauthorized(Refused):
    """The key is absent, unknown, expired or lacks the scope."""

    exit_code = 6
    meaning = "no valid key for this"


class Missing(Refused):
    """No such job, model or key."""

    exit_code = 7
    meaning = "no such job, model or key"


class JobFailed(SkimError):
    """A job that was waited for ended failed, cancelled or expired."""

    exit_code = 8
    meaning = "the awaited job failed, was cancelled or expired"


class ItemsFailed(SkimError):
    """A job that was waited for succeeded, but not every item did."""

    exit_code = 9
    meaning = "the awaited job succeeded without some of its items"


def exit_codes() -> dict[int, str]:
    """Every exit code of the command and what it means."""
    kinds = {kind.exit_code: kind.meaning for kind in _all_kinds(SkimError)}
    return {SUCCESS: "success", **dict(sorted(kinds.items())), INTERRUPTED: "interrupted"}


def _all_kinds(kind: type[SkimError]) -> Iterator[type[SkimError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _all_kinds(below)
