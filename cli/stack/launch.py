"""`python -m cli.stack.launch ... -- COMMAND`: leave a record, become the right user, become the command.

A separate step because these calls must happen between fork and exec, in this order: changing the user clears
the death signal. The record names the process by (pid, create time), which `exec` changes neither of.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path

from cli.stack.records import record_start

PR_SET_PDEATHSIG = 1


def launch_command(
    command: list[str],
    *,
    user: str | None = None,
    record: Path | None = None,
    death_signal: int | None = None,
) -> list[str]:
    """The argument list that runs `command` through this module.

    `death_signal` is sent to the command when the process that starts it ends, however it ends (Linux only);
    that process must be the caller.
    """
    options: list[str] = []
    if user is not None:
        options += ["--user", user]
    if record is not None:
        options += ["--record", str(record)]
    if death_signal is not None:
        options += ["--parent", str(os.getpid()), "--death-signal", str(int(death_signal))]
    # -P: the current folder may be one that the other user can write to, so nothing is imported from it.
    return [sys.executable, "-P", "-m", "cli.stack.launch", *options, "--", *command]


def main() -> None:
    """Read the options and become the command."""
    parser = argparse.ArgumentParser(prog="python -m cli.stack.launch")
    parser.add_argument("--user")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--parent", type=int)
    parser.add_argument("--death-signal", type=int)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    if options.record is not None:
        record_start(options.record, os.getpid())
    os.chdir("/")  # the caller's folder may go, and may be closed to the other user
    if options.user is not None:
        become(options.user)
    if options.death_signal is not None:
        die_with(options.parent, signal.Signals(options.death_signal))
    os.execvp(options.command[0], options.command)  # noqa: S606 - no shell is wanted


def become(user: str) -> None:
    """Drop to `user` for good, supplementary groups included."""
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = "/"


def die_with(parent: int, death_signal: signal.Signals) -> None:
    """Have the kernel send `death_signal` to this process when `parent` ends; exit if it already has."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that started this one has ended")


if __name__ == "__main__":
    main()
