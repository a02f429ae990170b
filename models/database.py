"""The connection to PostgreSQL: sessions that commit or roll back as a whole, and LISTEN."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.errors import IdleInTransactionSessionTimeout, ReadOnlySqlTransaction
from sqlalchemy import URL, Engine, ExceptionContext, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from models.connection import CONNECT_TIMEOUT_S, MARGIN_S, PING_S, SERVER_TCP, TCP, Connection
from models.notify import announced

LISTEN_TIMEOUT_S = 1.0
# Between two statements of a transaction lie milliseconds: who takes so long is frozen, and its locks hold up others.
# Its kernel still answers for it, so TCP does not tell. Less than a lease.
IDLE_S: Final = 5
# Of a connection that is of no use any more: the server has just closed it, or may not write since a failover.
DISMISSED: Final = (IdleInTransactionSessionTimeout, ReadOnlySqlTransaction)


class Database:
    """A pool of connections. Opens none before it is used; safe to share between threads, not across a fork.

    `on_news` is called with every payload that a session of this process announced, once the session is over.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.on_news: Callable[[str], None] | None = None
        self._sessions = sessionmaker(engine, expire_on_commit=False)
        self._statements = sessionmaker(engine.execution_options(isolation_level="AUTOCOMMIT"), expire_on_commit=False)

    def session(self) -> AbstractContextManager[Session]:
        """One transaction: committed at the end, rolled back by an exception."""
        return self._run(self._sessions)

    def statement(self) -> AbstractContextManager[Session]:
        """For statements that are each a transaction by itself, one as a rule: two round trips less."""
        return self._run(self._statements)

    @contextmanager
    def _run(self, sessions: sessionmaker[Session]) -> Iterator[Session]:
        with sessions() as session:
            try:
                with session.begin():
                    yield session
            finally:  # also where nobody knows whether the commit arrived
                if self.on_news is not None:
                    for payload in announced(session):
                        self.on_news(payload)

    def ping(self) -> None:
        """Return once the server has answered. Raises sqlalchemy.exc.OperationalError when it does not."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def listen(self, channel: str, *, timeout_s: float = LISTEN_TIMEOUT_S) -> Iterator[str | None]:
        """Payloads notified on a channel, and None at once and every `timeout_s` seconds. Closing it disconnects.

        The first None says that nothing committed from now on is missed, each that the server answered just now and
        that what it had notified by then has been yielded. Uses a connection of its own. Raises
        psycopg.OperationalError when it cannot be had or breaks.
        """
        _, options = self.engine.dialect.create_connect_args(self.engine.url)
        named = {"application_name": "skim-listen", "connect_timeout": CONNECT_TIMEOUT_S}
        with Connection.connect(**{**options, **named, **TCP}, autocommit=True) as connection:
            connection.patience_s = PING_S
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            while True:
                connection.execute("SELECT 1")  # silence alone would not tell a quiet server from a lost one
                yield from _payloads(connection, 0)
                yield None
                yield from _payloads(connection, timeout_s)

    def close(self) -> None:
        """Close every pooled connection that is not in use."""
        self.engine.dispose()


def _payloads(connection: psycopg.Connection[Any], timeout_s: float) -> Iterator[str]:
    for notification in connection.notifies(timeout=timeout_s):
        yield notification.payload


def connect(
    url: str,
    *,
    pool_size: int = 5,
    application_name: str = "skim",
    statement_timeout_ms: int | None = None,
    trust_s: float = 0,
) -> Database:
    """A database from `postgresql://...` or `postgresql+psycopg://...`. Connects lazily.

    `pool_size` bounds the connections, with half as many more for moments; a wait for one is limited to 10 s. A
    connection is tried before it is used, so that a restarted server costs nobody a request, unless it was used in the
    last `trust_s` seconds: for those who try again anyway.

    A statement ends after `statement_timeout_ms`, by the server or, where that is silent, by us soon after. Without one
    it is waited for while the server's machine is there. A transaction in which nothing is asked for `IDLE_S` seconds
    is undone by the server.
    """
    settings = {**SERVER_TCP, "idle_in_transaction_session_timeout": f"{IDLE_S}s"}
    if statement_timeout_ms is not None:
        settings["statement_timeout"] = str(statement_timeout_ms)
    engine = create_engine(
        driver_url(url),
        pool_size=pool_size,
        max_overflow=max(1, pool_size // 2),
        pool_timeout=10,
        hide_parameters=True,  # an error must not quote a prompt
        isolation_level="READ COMMITTED",  # row locks re-read what they waited for; the verbs count on it
        connect_args={
            "application_name": application_name,
            "connect_timeout": CONNECT_TIMEOUT_S,
            **TCP,
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    )
    _dial(engine, None if statement_timeout_ms is None else statement_timeout_ms / 1000 + MARGIN_S)
    _try_after(engine, trust_s)
    _drop_dismissed(engine)
    return Database(engine)


def is_outage(error: Exception) -> bool:
    """Whether the database is away, or has given the connection up, rather than been asked something wrong.

    Then the same may succeed a moment later, on another connection.
    """
    if isinstance(error, DBAPIError):
        return isinstance(error, OperationalError) or error.connection_invalidated
    return isinstance(error, PoolTimeout)


def _dial(engine: Engine, patience_s: float | None) -> None:
    """Have connections made that wait so long for an answer."""

    @event.listens_for(engine, "do_connect")
    def dial(_: object, __: object, arguments: list[Any], options: dict[str, Any]) -> Connection:
        connection = Connection.connect(*arguments, **options)
        connection.patience_s = patience_s
        return connection


def _try_after(engine: Engine, trust_s: float) -> None:
    """Have connections tried that have not been used for so long. As `pool_pre_ping`, which would wait like a query."""

    @event.listens_for(engine, "checkin")
    def note(_: Any, record: ConnectionPoolEntry) -> None:
        record.info["used_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def check(connection: Connection, record: ConnectionPoolEntry, _: object) -> None:
        used_at = record.info.get("used_at")  # None: it was opened just now
        if used_at is None or time.monotonic() - used_at <= trust_s:
            return
        patience_s, connection.patience_s = connection.patience_s, PING_S
        try:
            engine.dialect.do_ping(connection)  # type: ignore[arg-type]  # its protocol knows no psycopg
        except psycopg.Error:
            raise InvalidatePoolError from None
        connection.patience_s = patience_s


def _drop_dismissed(engine: Engine) -> None:
    """Have connections replaced of which the server says that they are of no use, and all that were made before."""

    @event.listens_for(engine, "handle_error")
    def drop(context: ExceptionContext) -> None:
        if isinstance(context.original_exception, DISMISSED):
            context.is_disconnect = True


def driver_url(url: str) -> URL:
    """The address with psycopg named as the driver, whichever PostgreSQL scheme it came with."""
    return make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername="postgresql+psycopg")
