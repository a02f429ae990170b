"""SKIM_HOME: where everything of one stack lies, and its secrets.

credentials      the local API key (0600)            models/    prepared models
flower-password  Flower's password (0600)            log/       one file a process
secrets.json     the servers' passwords (0600)       run/       what is running now
servers/         Postgres' and Redis' data, owned by the account they run as
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.errors import StackError
from cli.stack.account import Account, caller
from cli.stack.folders import write_private

# Where root's servers keep their data if their account cannot enter SKIM_HOME (root's own folder, say).
ELSEWHERE = Path("/var/lib/skim-servers")


@dataclass(frozen=True, slots=True)
class Secrets:
    """Made once per home. `stack_id` marks the environment of every process of the stack."""

    postgres: str
    redis: str
    stack_id: str


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one SKIM_HOME."""

    root: Path

    @property
    def credentials(self) -> Path:
        """The local API key, as JSON `{"api_key": ...}`."""
        return self.root / "credentials"

    @property
    def flower_password(self) -> Path:
        """Flower's password; the user is `skim`."""
        return self.root / "flower-password"

    @property
    def models(self) -> Path:
        """Prepared models; the API registers local folders from here."""
        return self.root / "models"

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.root / "log"

    @property
    def run(self) -> Path:
        """Records of what was started, the state file, the supervisor's configuration."""
        return self.root / "run"

    @property
    def servers(self) -> Path:
        """The servers' data; a link to a folder elsewhere where their account cannot enter this home."""
        return self.root / "servers"

    @property
    def has_secrets(self) -> bool:
        """Whether a stack was ever started from here."""
        return self._secrets_file.exists()

    @property
    def _secrets_file(self) -> Path:
        return self.root / "secrets.json"

    def prepare(self, account: Account) -> None:
        """Make the folders that are missing, with the servers' folder where `account` can enter it.

        Raises:
            StackError: SKIM_HOME cannot be made or written to.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o755)
            self.models.mkdir(exist_ok=True)
            for folder in (self.logs, self.run):
                folder.mkdir(exist_ok=True, mode=0o700)
            if not self.servers.is_dir():
                self._make_servers(account)
        except OSError as error:
            raise StackError(f"SKIM_HOME={self.root} cannot be used: {error.strerror or error}") from error

    def secrets(self) -> Secrets:
        """The secrets, made at the first call."""
        if not self.has_secrets:
            fresh = {name: secrets.token_hex(20) for name in ("postgres", "redis", "stack_id")}
            write_private(self._secrets_file, json.dumps(fresh), caller())
        return Secrets(**json.loads(self._secrets_file.read_text()))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold while starting or stopping: one at a time.

        Raises:
            StackError: another command is starting or stopping this stack.
        """
        descriptor = os.open(self.run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise StackError("another skim command is starting or stopping this stack: try again") from None
        try:
            yield
        finally:
            os.close(descriptor)

    def _make_servers(self, account: Account) -> None:
        if account.can_enter(self.root):
            self.servers.mkdir(mode=0o755)
            return
        # Named at random: a home that is deleted and made again must not meet the old one's database.
        folder = ELSEWHERE / secrets.token_hex(8)
        folder.mkdir(parents=True, mode=0o755)
        if not account.can_enter(folder):
            raise StackError(f"user {account.name} can enter neither {self.root} nor {folder}")
        self.servers.unlink(missing_ok=True)
        self.servers.symlink_to(folder)
