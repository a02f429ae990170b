"""The embedded PostgreSQL 18: a data folder of its own, a unix socket, a password, no network.

Knows how to prepare, command and await the server; who keeps it running is somebody else's matter.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from cli.errors import StackError
from cli.stack.account import Account
from cli.stack.folders import private_folder, write_private
from cli.stack.launch import launch_command

ROLE = "skim"
DATABASE = "skim"
INITDB_TIMEOUT_S = 120

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_error_verbosity": "terse",  # details and contexts of errors quote rows, and with them prompts
}


@dataclass(frozen=True, slots=True)
class Postgres:
    """One server. `data` and `sockets` are folders of `account`; `settings` override the defaults."""

    binaries: Path
    data: Path
    sockets: Path
    account: Account
    password: str
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def command(self) -> list[str]:
        """What to run, as `account`, in the foreground. SIGINT stops it without waiting for clients."""
        settings = {**SETTINGS, "unix_socket_directories": str(self.sockets), **dict(self.settings)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *options]

    def url(self, database: str = DATABASE) -> str:
        """The SQLAlchemy address of a database of this server, password included."""
        host = quote(str(self.sockets), safe="/")
        return f"postgresql+psycopg://{ROLE}:{self.password}@/{database}?host={host}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[TupleRow]:
        """An autocommit connection as the owner of the server. Raises psycopg.OperationalError."""
        return psycopg.connect(
            host=str(self.sockets), user=ROLE, password=self.password, dbname=database, autocommit=True
        )

    def prepare(self, *, sync: bool = True) -> None:
        """Create the data folder once. `sync=False` does not wait for the disk (tests).

        Raises:
            StackError: initdb failed; its output is in the message.
        """
        if self.data.exists():
            private_folder(self.data, self.account)
            return
        password_file = self.sockets / "initdb.password"
        write_private(password_file, self.password, self.account)
        # initdb writes its marker files early, so only the rename says that a data folder is whole.
        partial = self.data.with_name(f"{self.data.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        private_folder(partial, self.account)
        try:
            self._initdb(partial, password_file, sync=sync)
        finally:
            password_file.unlink(missing_ok=True)
        partial.rename(self.data)

    def wait(self, timeout_s: float = 30) -> None:
        """Return once the server answers and database `skim` exists.

        Raises:
            StackError: it did not answer in time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with self.connect() as connection:
                    _create_missing(connection, DATABASE)
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise StackError(f"PostgreSQL did not answer within {timeout_s:.0f} s: {error}") from error
                time.sleep(0.05)

    def _initdb(self, folder: Path, password_file: Path, *, sync: bool) -> None:
        command = [
            str(self.binaries / "initdb"),
            f"--pgdata={folder}",
            f"--username={ROLE}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # The builtin provider needs no locale of the operating system and sorts the same everywhere.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            *([] if sync else ["--no-sync"]),
        ]
        user = self.account.name if self.account.is_other else None
        done = subprocess.run(
            launch_command(command, user=user),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=INITDB_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(f"initdb failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}")


def _create_missing(connection: psycopg.Connection[TupleRow], database: str) -> None:
    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
    if not found:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
