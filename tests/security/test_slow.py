"""Clients that drip, by the hundred: everybody else is answered meanwhile, and the server lets go of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from api.app import POOL_SIZE
from cli.stack.postgres import Postgres
from tests.security.conftest import Client, Site, opened
from tests.tools.playing import playing
from tests.tools.wire import connect, head, status

NUM = 200
GRACE_S, SILENCE_S = 2.0, 1.5  # instead of 15 and 10: what is tested is that they end
PATIENCE_S = 60.0
ASK_S = 20.0  # far more than an answer takes, and less than two hundred silent clients would hold a pool of threads
PAUSE_S = 0.2
LARGE_MIB = 12
CONNECTIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'skim-api' AND datname = current_database()"
APPLICATION = f"""
import api.connection
api.connection.GRACE_S, api.connection.SILENCE_S = {GRACE_S}, {SILENCE_S}
from api.wsgi import app
"""


@pytest.fixture(scope="module")
def brisk(
    postgres_server: Postgres, migrated_template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A service with short patience and otherwise as it is deployed."""
    folder = tmp_path_factory.mktemp("brisk")
    (folder / "brisk.py").write_text(APPLICATION)
    with opened(postgres_server, migrated_template, redis_url, folder, application="brisk:app") as site:
        yield site
        assert "Traceback" not in site.log.read_text()


@pytest.fixture(scope="module")
def caller(brisk: Site) -> Client:
    return brisk.client("ten_brisk")


@contextmanager
def slow(site: Site, num: int, first: bytes, receive_bytes: int | None = None) -> Iterator[list[socket.socket]]:
    """Connections that have sent so much and will never be prompt."""
    with ExitStack() as held:
        found = [held.enter_context(connect(site.url, receive_bytes=receive_bytes)) for _ in range(num)]
        for one in found:
            one.sendall(first)
        yield found


def drip(clients: list[socket.socket], one: bytes) -> list[socket.socket]:
    """Send a byte each; returns those that still can."""
    still = []
    for client in clients:
        try:
            client.send(one)
            client.setblocking(False)
            still += [client] if _is_open(client) else []
        except OSError:
            continue
        finally:
            client.settimeout(30)
    return still


def _is_open(client: socket.socket) -> bool:
    try:
        while data := client.recv(65536):  # head and body of an answer may come apart
            assert not data.startswith(b"HTTP/") or status(data) in (401, 408, 503), data
    except BlockingIOError:
        return True
    return False


def outlast(clients: list[socket.socket], one: bytes, ask: Callable[[], None]) -> int:
    """Drip until the server has let go of all of them, and have somebody else ask all the while; returns how often."""
    num_asked, deadline = 0, time.monotonic() + PATIENCE_S
    while clients:
        assert time.monotonic() < deadline, f"{len(clients)} are still held"
        clients = drip(clients, one)
        ask()
        num_asked += 1
        time.sleep(PAUSE_S)
    return num_asked


def asking(site: Site, caller: Client) -> Callable[[], None]:
    """Two requests that have to be answered: one on a new connection, one on an old."""

    def ask() -> None:
        assert httpx.get(f"{site.url}/livez", timeout=ASK_S).status_code == 200
        assert caller.send("GET", "/v1/jobs").status_code == 200

    return ask


def start(caller: Client, length: int) -> bytes:
    """The head of a submission with a good key, and the first byte of its body."""
    headers = ("Authorization", f"Bearer {caller.secret}"), ("Content-Type", "application/json")
    return head("POST", "/v1/jobs", *headers, ("Content-Length", str(length))) + b"{"


def test_nothing_at_all_is_said(brisk: Site, caller: Client) -> None:
    with slow(brisk, NUM, b"") as clients:
        for _ in range(10):
            asking(brisk, caller)()
        assert len(clients) == NUM


def test_headers_drip(brisk: Site, caller: Client) -> None:
    with slow(brisk, NUM, b"GET /v1/jobs HTTP/1.1\r\nHost: skim\r\nX-Slow: ") as clients:
        assert outlast(clients, b"x", asking(brisk, caller)) > 1


@pytest.mark.parametrize("length", [1000, 1_000_000])
def test_bodies_drip(brisk: Site, caller: Client, length: int) -> None:
    with slow(brisk, NUM, start(caller, length)) as clients:
        outlast(clients, b" ", asking(brisk, caller))


def test_bodies_of_strangers_drip(brisk: Site, caller: Client) -> None:
    """They are refused before their body is read, and not waited for."""
    nobody = head("POST", "/v1/jobs", ("Content-Type", "application/json"), ("Content-Length", "1000000"))
    with slow(brisk, NUM, nobody + b"{") as clients:
        outlast(clients, b" ", asking(brisk, caller))


def test_long_bodies_have_some_of_the_threads_only(brisk: Site, caller: Client) -> None:
    """Whoever comes too many is told so, and gets in once the others were let go."""
    content = b" " * 100_000 + b"{}"

    def post() -> int:
        headers = {"Content-Type": "application/json"}
        return caller.send("POST", "/v1/jobs", content=content, headers=headers).status_code

    with slow(brisk, 20, start(caller, 1_000_000)) as clients:
        deadline = time.monotonic() + PATIENCE_S
        while post() != 503:
            assert time.monotonic() < deadline
        outlast(clients, b" ", asking(brisk, caller))
    assert post() == 400


def content(site: Site, caller: Client) -> str:
    """The path of a large file."""
    upload = {"files": {"file": ("large", bytes(LARGE_MIB * 2**20))}, "data": {"purpose": "user_data"}}
    return f"/v1/files/{caller.made('POST', '/v1/files', **upload)['id']}/content"


def results(site: Site, caller: Client) -> str:
    """The path of large results."""
    with playing(site.database, "x" * (LARGE_MIB * 2**20 // 16)):
        job_id = caller.submit(inputs=[{"prompt": "Say it."}] * 16)["id"]
        caller.ended(f"/v1/jobs/{job_id}")
    return f"/v1/jobs/{job_id}/results"


def num_connections(site: Site) -> int:
    """The fewest that are open while downloads are: those beyond the pool's size close as soon as they are not used."""
    seen = []
    for _ in range(8):
        time.sleep(SILENCE_S / 10)
        seen.append(len(site.rows(CONNECTIONS)))
    return min(seen[2:])


@pytest.mark.parametrize("made", [content, results])
def test_nobody_reads_a_large_download(brisk: Site, caller: Client, made: Callable[[Site, Client], str]) -> None:
    path = made(brisk, caller)
    key = ("Authorization", f"Bearer {caller.secret}")

    with slow(brisk, 40, head("GET", path, key), receive_bytes=4096) as clients:
        num_open = num_connections(brisk)
        for _ in range(5):
            asking(brisk, caller)()
            time.sleep(PAUSE_S)
        deadline = time.monotonic() + PATIENCE_S
        while (answer := caller.send("GET", path)).status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(PAUSE_S)
        ends = sum(_drained(client) < LARGE_MIB * 2**20 for client in clients)

    assert num_open <= POOL_SIZE
    assert len(answer.content) >= LARGE_MIB * 2**20
    assert ends == 40


def _drained(client: socket.socket) -> int:
    """How much there is to read until the server's end."""
    size = 0
    try:
        while data := client.recv(1 << 20):
            size += len(data)
    except ConnectionResetError:
        return size
    return size


def test_requests_of_one_connection_are_answered_in_their_order(brisk: Site, caller: Client) -> None:
    """Also where the next one came along with the one before it, whole or in part."""
    one = head("GET", "/livez").replace(b"Connection: close\r\n", b"")
    last = head("GET", "/v1/jobs", ("Authorization", f"Bearer {caller.secret}"))
    with connect(brisk.url) as client:
        client.sendall(one + one + last[:20])
        time.sleep(PAUSE_S)
        client.sendall(last[20:])
        answer = b""
        while data := client.recv(65536):
            answer += data

    assert answer.count(b"HTTP/1.1 200") == 3
    assert [b'"ok"' in one for one in answer.split(b"HTTP/1.1 200 OK")] == [False, True, True, False]
    assert b'"object":"list"' in answer
