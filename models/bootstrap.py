"""`python -m models.bootstrap`: bring a database to the present schema and make the first tenant and key.

Safe to run any number of times and at once from several machines; the schema of a later release is left as it is. Reads
SKIM_DATABASE_URL and, when the first key shall be written instead of printed, SKIM_CREDENTIALS_FILE.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final, Self

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from models.ahead import later_revision, missing_columns
from models.database import Database, connect
from models.keys import Scope, create_key
from models.tables import ApiKey
from models.tenants import DEFAULT_ID, DEFAULT_NAME, ensure_tenant

WAIT_S: Final = 60.0
RETRY_S: Final = 1.0
KEY_NAME: Final = "first key"

# Held by whoever migrates or makes the first key; released with the connection. Asked for again and again: a statement
# that waits for it would hold a snapshot, and a migration that builds an index concurrently would wait for that.
TRY_LOCK: Final = text("SELECT pg_try_advisory_lock(hashtextextended('skim bootstrap', 7))")
LOCK_RETRY_S: Final = 0.1


class BootstrapFailed(Exception):
    """The database cannot be had or migrated; `str()` is one line for people."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. `wait_s` bounds the wait for a server that does not answer yet, in seconds."""

    database_url: str
    credentials: Path | None
    wait_s: float = WAIT_S

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> Self:
        """Raises BootstrapFailed when SKIM_DATABASE_URL is missing."""
        url = environment.get("SKIM_DATABASE_URL")
        if not url:
            raise BootstrapFailed("SKIM_DATABASE_URL is not set")
        path = environment.get("SKIM_CREDENTIALS_FILE")
        return cls(url, Path(path) if path else None)


def main() -> int:
    """The command; returns its exit status."""
    try:
        settings = Settings.from_env(os.environ)
        secret = bootstrap(settings)
    except BootstrapFailed as error:
        _say(str(error))
        return 1
    if secret is not None and settings.credentials is None:
        sys.stdout.write(f"The first API key, shown only now: {secret}\n")
    return 0


def bootstrap(settings: Settings) -> str | None:
    """Wait for the server, migrate, make tenant and key; returns the secret if a key was made."""
    database = connect(settings.database_url, pool_size=2, application_name="skim-bootstrap")
    try:
        _wait(database, settings.wait_s)
        with database.engine.connect() as connection:
            _lock(connection)
            _upgrade(connection)
            return _first_key(connection, settings.credentials)
    except SQLAlchemyError as error:
        raise BootstrapFailed(f"the database could not be migrated: {_reason(error)}") from error
    finally:
        database.close()


def upgrade(url: str) -> None:
    """Bring the database to the newest revision, unless it is past that.

    Raises:
        BootstrapFailed: it is at an unknown revision and lacks what we need.
        sqlalchemy.exc.DBAPIError: it cannot be had or migrated.
    """
    database = connect(url, pool_size=1, application_name="skim-bootstrap")
    try:
        with database.engine.connect() as connection:
            _lock(connection)
            _upgrade(connection)
    finally:
        database.close()


def configuration(connection: Connection) -> Config:
    """Alembic's settings without a file: the scripts lie beside the packages, the connection is handed over."""
    config = Config()
    config.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _lock(connection: Connection) -> None:
    while not connection.execute(TRY_LOCK).scalar_one():
        connection.commit()
        time.sleep(LOCK_RETRY_S)
    connection.commit()


def _upgrade(connection: Connection) -> None:
    config = configuration(connection)
    later = later_revision(connection, ScriptDirectory.from_config(config))
    if later is None:
        command.upgrade(config, "head")
    elif missing := missing_columns(connection):
        raise BootstrapFailed(f"the database is at an unknown revision, {later}, and has no {missing[0]}")
    else:
        _say(f"the database is at revision {later} of a later release, and stays there")
    connection.commit()


def _first_key(connection: Connection, credentials: Path | None) -> str | None:
    """Make the default tenant and, when nobody has any key, one with all scopes."""
    with Session(bind=connection) as session, session.begin():
        ensure_tenant(session, DEFAULT_ID, name=DEFAULT_NAME)
        if session.scalar(select(func.count()).select_from(ApiKey)):
            return None
        _, secret = create_key(session, DEFAULT_ID, KEY_NAME, Scope)
        if credentials is not None:
            _write(credentials, secret)  # before the commit: a key that cannot be kept is not made
    return secret


def _write(path: Path, secret: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"api_key": secret}, file)
            file.write("\n")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BootstrapFailed(f"the first API key could not be written: {error}") from error


def _wait(database: Database, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    is_told = False
    while True:
        try:
            return database.ping()
        except OperationalError as error:
            if time.monotonic() >= deadline:
                address = database.engine.url.render_as_string()
                raise BootstrapFailed(f"no database at {address} after {wait_s:g} s: {_reason(error)}") from error
            if not is_told:
                _say(f"waiting for the database: {_reason(error)}")
                is_told = True
        time.sleep(RETRY_S)


def _reason(error: SQLAlchemyError) -> str:
    """The driver's first line."""
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


def _say(message: str) -> None:
    sys.stderr.write(f"skim: {message}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
