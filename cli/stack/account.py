"""Which operating-system user the database servers run as, and what that user can reach.

PostgreSQL refuses to run as root, so root hands both servers to user `skim`, or `nobody` where there is none.
Everybody else runs them as themselves. Nothing here changes the mode of a folder it did not create.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from cli.errors import StackError

CANDIDATES = ("skim", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        """Whether a process must change its user to become this account."""
        return self.uid != os.geteuid()

    def can_enter(self, folder: Path) -> bool:
        """Whether the account may pass through `folder` and all its parents (mode bits; no ACLs)."""
        resolved = folder.resolve()
        return all(self._passes(step.stat()) for step in (resolved, *resolved.parents))

    def own(self, path: Path) -> None:
        """Give `path`, which this process has just created, to the account."""
        if self.is_other:
            os.chown(path, self.uid, self.gid)

    def _passes(self, status: os.stat_result) -> bool:
        if self.uid == 0:
            return True
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        # Supplementary groups count only for the account we already are: launched servers drop theirs.
        groups = {self.gid} if self.is_other else {self.gid, *os.getgroups()}
        if status.st_gid in groups:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)


def caller() -> Account:
    """The account of this process."""
    return Account(str(os.geteuid()), os.geteuid(), os.getegid())


def server_account() -> Account:
    """The account for the servers.

    Raises:
        StackError: we are root and neither `skim` nor `nobody` exists.
    """
    if os.geteuid() != 0:
        return caller()
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise StackError("PostgreSQL does not run as root: create a user named skim (useradd --system skim)")
