"""COPY: rows that stream into a table, in the session's own transaction, under a time limit of their own.

How long that takes depends on how much there is to copy and on how soon it is handed over, as with no other statement.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, LiteralString

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from models.driver import cursor_of

COPY_S: Final = 120.0  # for 200 MB on a machine that is busy with other things

LIMIT: Final = "SELECT set_config('statement_timeout', %s, true)"
UNLIMIT: Final = "SET LOCAL statement_timeout TO DEFAULT"  # what the connection was opened with


@contextmanager
def copying(session: Session, statement: LiteralString) -> Iterator[psycopg.Copy]:
    """What rows are written to. Statements after it have the limit that they always had.

    Raises:
        psycopg.DataError, psycopg.IntegrityError: the rows are to blame.
        sqlalchemy.exc.DBAPIError: the database is, or `COPY_S` are over.
    """
    try:
        with cursor_of(session) as cursor:
            cursor.execute(LIMIT, (str(round(COPY_S * 1000)),))
            with cursor.copy(statement) as copy:
                yield copy
            cursor.execute(UNLIMIT)
    except (psycopg.DataError, psycopg.IntegrityError):
        raise
    except psycopg.Error as error:
        raise DBAPIError.instance(statement, None, error, psycopg.Error) from error
