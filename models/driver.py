"""psycopg beneath a session: COPY, which SQLAlchemy has no words for, in the session's own transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy.orm import Session

Cursor = psycopg.Cursor[tuple[Any, ...]]


@contextmanager
def cursor_of(session: Session) -> Iterator[Cursor]:
    """A cursor on the session's connection. Raises TypeError for another driver than psycopg."""
    connection = session.connection().connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError(f"COPY needs psycopg, not {type(connection).__name__}")
    with connection.cursor() as cursor:
        yield cursor
