"""Senders on a real registry with real receivers: who hangs holds up nobody else."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from models.deliveries import open_delivery
from tests.integration.workers.conftest import TENANT, Registry
from tests.tools.receiving import receiving
from workers.senders import PER_HOST, PER_TENANT, Senders


class Receiver(BaseHTTPRequestHandler):
    """Accepts everything; of paths that begin with /hang not before the test says so."""

    released: threading.Event

    def do_POST(self) -> None:
        getattr(self.server, "seen").append((self.headers["Host"], self.path))  # noqa: B009
        if self.path.startswith("/hang"):
            self.released.wait(30)
        with suppress(OSError):
            self.send_response(200)
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quietly."""


@pytest.fixture
def receiver() -> Iterator[ThreadingHTTPServer]:
    Receiver.released = threading.Event()
    with receiving(Receiver) as server:
        yield server
        Receiver.released.set()


@pytest.fixture
def senders(registry: Registry, receiver: ThreadingHTTPServer) -> Iterator[Senders]:
    made = Senders(registry.database, allow_private=True)
    yield made
    Receiver.released.set()
    made.close()


def due(registry: Registry, url: str, num: int, tenant_id: str = TENANT) -> None:
    """Deliveries of as many jobs."""
    for _ in range(num):
        job_id = registry.submit(webhook_url=url)
        with registry.database.session() as session:
            open_delivery(session, job_id)
        registry.rows(
            "UPDATE deliveries SET tenant_id = :tenant WHERE job_id = :job RETURNING id", tenant=tenant_id, job=job_id
        )


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def statuses(registry: Registry, tenant_id: str) -> list[str]:
    rows = registry.rows("SELECT status FROM deliveries WHERE tenant_id = :tenant", tenant=tenant_id)
    return [row.status for row in rows]


def test_hanging_receivers_hold_up_their_own_tenant_alone(
    registry: Registry, receiver: ThreadingHTTPServer, senders: Senders
) -> None:
    registry.rows("INSERT INTO tenants (id, name) VALUES ('ten_b', 'ten_b') RETURNING id")
    seen: list[tuple[str, str]] = receiver.seen  # type: ignore[attr-defined]
    hosts = [f"{name}:{receiver.server_port}" for name in ("127.0.0.1", "localhost")]
    for host in hosts:
        due(registry, f"http://{host}/hang", 3)
    with receiving(Receiver) as good:
        due(registry, f"http://127.0.0.1:{good.server_port}/good", 5, "ten_b")
        senders.wake()
        until(lambda: statuses(registry, "ten_b") == ["delivered"] * 5)
    hanging = [host for host, path in seen if path == "/hang"]

    assert len(hanging) == PER_TENANT
    assert max(hanging.count(host) for host in hosts) == PER_HOST
    assert set(statuses(registry, TENANT)) == {"waiting"}


def test_all_is_sent_in_the_end(registry: Registry, receiver: ThreadingHTTPServer, senders: Senders) -> None:
    due(registry, f"http://127.0.0.1:{receiver.server_port}/good", 20)

    senders.wake()
    until(lambda: statuses(registry, TENANT) == ["delivered"] * 20)

    assert len(receiver.seen) == 20  # type: ignore[attr-defined]


def test_senders_that_are_closed_take_nothing(registry: Registry, receiver: ThreadingHTTPServer) -> None:
    due(registry, f"http://127.0.0.1:{receiver.server_port}/good", 1)
    closed = Senders(registry.database, allow_private=True)
    closed.close()

    closed.wake()

    assert statuses(registry, TENANT) == ["waiting"]
