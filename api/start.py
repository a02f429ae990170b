"""The first moments of a process: wait for what it cannot serve without, or say so and end."""

from __future__ import annotations

import sys
import time
from typing import Final, NoReturn

from sqlalchemy import make_url

from api.settings import Settings
from models.database import Database

RETRY_S: Final = 1.0
BOOT_FAILED: Final = 3  # the exit status at which gunicorn gives up instead of starting the process again


def wait_for_database(database: Database, settings: Settings) -> None:
    """Return once the database answers; end the process after `settings.start_wait_s` seconds without it."""
    address = make_url(settings.database_url).render_as_string(hide_password=True)
    deadline = time.monotonic() + settings.start_wait_s
    is_told = False
    while (reason := _reason(database)) is not None:
        if time.monotonic() >= deadline:
            refuse(f"no database at {address} after {settings.start_wait_s:g} s: {reason}")
        if not is_told:
            say(f"waiting for the database at {address}: {reason}")
            is_told = True
        time.sleep(RETRY_S)


def say(message: str) -> None:
    """One line for whoever started the process."""
    sys.stderr.write(f"skim api: {message}\n")
    sys.stderr.flush()


def refuse(message: str) -> NoReturn:
    """Say why, and end so that the WSGI server does not try again and again."""
    say(message)
    raise SystemExit(BOOT_FAILED)


def _reason(database: Database) -> str | None:
    """Why the database does not answer, in one line; None when it does."""
    try:
        database.ping()
    except Exception as error:  # any failure to answer means the same here: not yet
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return None
