"""Servers that fall silent without a word: whoever waits for them learns of it in time."""

import os
import socket
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from models.connection import CONNECT_TIMEOUT_S, MARGIN_S, PING_S, TCP
from models.database import Database, connect
from models.notify import CHANNEL
from tests.tools.proxy import Proxy, proxied

STATEMENT_S = 0.5
SLACK_S = 1.0


@pytest.fixture
def proxy_and_url(database_url: str) -> Iterator[tuple[Proxy, str]]:
    with proxied(database_url) as found:
        yield found


@pytest.fixture
def proxy(proxy_and_url: tuple[Proxy, str]) -> Proxy:
    return proxy_and_url[0]


@pytest.fixture
def far(proxy_and_url: tuple[Proxy, str]) -> Iterator[Database]:
    """The database through the proxy, with a connection that was used just now."""
    database = connect(proxy_and_url[1], pool_size=1, statement_timeout_ms=int(STATEMENT_S * 1000), trust_s=60)
    database.ping()
    yield database
    database.close()


def duration_s(run: Callable[[], object]) -> float:
    began = time.monotonic()
    run()
    return time.monotonic() - began


def give_up(database: Database) -> None:
    with pytest.raises(OperationalError):
        database.ping()


@pytest.mark.parametrize("fall", [Proxy.freeze, Proxy.lose])
def test_a_statement_is_not_waited_for_much_longer_than_it_may_take(
    proxy: Proxy, far: Database, fall: Callable[[Proxy], None]
) -> None:
    fall(proxy)

    assert duration_s(lambda: give_up(far)) < STATEMENT_S + MARGIN_S + SLACK_S
    proxy.thaw()
    far.ping()


def test_neither_is_a_commit(proxy: Proxy, far: Database) -> None:
    def commit() -> None:
        with pytest.raises(OperationalError), far.session() as session:
            session.execute(text("DELETE FROM models"))
            proxy.freeze()

    assert duration_s(commit) < STATEMENT_S + MARGIN_S + SLACK_S


def test_a_connection_that_is_tried_answers_at_once_or_is_replaced(proxy_and_url: tuple[Proxy, str]) -> None:
    proxy, url = proxy_and_url
    database = connect(url, pool_size=1, statement_timeout_ms=60_000)
    database.ping()

    proxy.lose()
    assert duration_s(database.ping) < PING_S + SLACK_S
    proxy.freeze()
    assert duration_s(lambda: give_up(database)) < PING_S + CONNECT_TIMEOUT_S + SLACK_S
    database.close()


def test_a_listener_hears_that_nothing_is_to_be_heard(proxy: Proxy, far: Database) -> None:
    heard = far.listen(CHANNEL, timeout_s=0.1)
    next(heard)
    proxy.lose()

    def listen() -> None:
        with pytest.raises(psycopg.OperationalError):
            list(heard)

    assert duration_s(listen) < PING_S + SLACK_S


def test_sockets_notice_that_a_machine_is_gone(far: Database) -> None:
    """As any connection is opened, with a time for statements or without."""
    with far.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        with socket.socket(fileno=os.dup(driver.fileno())) as end:
            names = {
                "keepalives_idle": socket.TCP_KEEPIDLE,
                "keepalives_interval": socket.TCP_KEEPINTVL,
                "keepalives_count": socket.TCP_KEEPCNT,
                "tcp_user_timeout": socket.TCP_USER_TIMEOUT,
            }
            found = {name: end.getsockopt(socket.IPPROTO_TCP, number) for name, number in names.items()}
            assert found == TCP
            assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
