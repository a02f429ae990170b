"""Where webhooks must not go, however the address is written, whoever resolves it, and whatever it answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from models.database import connect
from models.deliveries import open_delivery
from tests.integration.workers.conftest import Registry, registry
from tests.security.conftest import MODEL, Site
from tests.tools.receiving import receiving
from workers.posting import Undeliverable, post
from workers.senders import Senders

__all__ = ["registry"]  # a fixture

PUBLIC = "93.184.215.14"
NAME = "hooks.example.org"
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0",  # noqa: S104 - not bound to
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "198.18.0.1", "240.0.0.1", "255.255.255.255", "224.0.0.1",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "64:ff9b:1::7f00:1",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1", "2001:db8::1", "3fff::1",
    "fe80::1", "fe80::1%lo", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1", "5f00::1",
]  # fmt: skip
# Whatever the system's resolver makes of them, it is this machine or nothing.
WRITTEN = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001",
    "0", "0.0.0.0",  # noqa: S104 - likewise
    "localhost", "LOCALHOST", "localhost.", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]", "\u2460\u2461\u2466.0.0.1", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021",
    "%31%32%37.0.0.1", "127.0.0.1%00.example.org",
]  # fmt: skip
TRICKS = [
    "http://example.org@127.0.0.1/", "http://user:word@127.0.0.1/", "http://@127.0.0.1/", "http://:@127.0.0.1/",
    "http://127.0.0.1\\@example.org/", "http://example.org\\@127.0.0.1/", "http://example.org:80@127.0.0.1/",
    "http://127.0.0.1 @example.org/", "http://exa mple.org/", "http://example.org/\r\nX-Evil: 1", "http://a\tb/",
    "http://example.org/\u2028", "http://", "http:///x", "//example.org", "example.org", "http:example.org",
    "file:///etc/passwd", "gopher://127.0.0.1:6379/_FLUSHALL", "ftp://example.org", "javascript:alert(1)", "data:,a",
    "http://[::1", "http://example.org:0/", "http://example.org:99999/", "http://example.org:80a/",
    "http://" + "a" * 3000,
]  # fmt: skip


class Receiver(BaseHTTPRequestHandler):
    """Notes every request; sends those for `/to/PORT/STATUS` on to another port."""

    def do_POST(self) -> None:
        getattr(self.server, "seen").append(self.path)  # noqa: B009
        _, _, port, code = self.path.split("/") if self.path.startswith("/to/") else ("", "", "", "200")
        self.send_response(int(code))
        self.send_header("Location", f"http://127.0.0.1:{port}/moved")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - as the base class has it

    def log_message(self, format: str, *args: object) -> None:
        """Quietly."""


@pytest.fixture
def receiver() -> Iterator[ThreadingHTTPServer]:
    with receiving(Receiver) as server:
        yield server


def seen(server: ThreadingHTTPServer) -> list[str]:
    found: list[str] = getattr(server, "seen")  # noqa: B009
    return found


class Resolver:
    """Says other addresses of a name at every question, and knows nothing else."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    def __call__(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        if host != NAME:  # an address: the socket library asks for those too
            return REAL(host, port, type=socket.SOCK_STREAM)
        self.asked.append(host)
        address = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        place = (address, port, 0, 0) if ":" in address else (address, port)
        return [(family, socket.SOCK_STREAM, 6, "", place)]


REAL: Callable[..., list[Any]] = socket.getaddrinfo


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were connected to; all of them refuse."""
    found: list[str] = []

    def refuse(address: tuple[str, int], *_: Any) -> None:
        found.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    return found


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_inside_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch, connected: list[str], address: str
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(address))

    with pytest.raises(Undeliverable, match="a private address"):
        post(f"https://{NAME}/", b"{}", {}, allow_private=False)

    assert connected == []


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:220:1::1", f"::ffff:{PUBLIC}", "64:ff9b::5db8:d70e"])
def test_a_name_that_leads_outside_is_connected_to_where_it_was_looked_at(
    monkeypatch: pytest.MonkeyPatch, connected: list[str], address: str
) -> None:
    """A name that changes its mind between the look and the connection is not asked a second time."""
    resolver = Resolver(address, "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", resolver)

    with pytest.raises(Undeliverable, match="ConnectionRefusedError"):
        post(f"http://{NAME}/", b"{}", {}, allow_private=False)

    assert (connected, resolver.asked) == ([address], [NAME])


def test_a_name_that_was_public_at_submission_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, registry: Registry, receiver: ThreadingHTTPServer
) -> None:
    """It led outside when the job was made and at the first attempt, and leads to this machine since."""
    monkeypatch.setattr(socket, "getaddrinfo", Resolver(PUBLIC, "127.0.0.1"))
    monkeypatch.setattr("workers.posting.CONNECT_S", 0.2)  # nobody is there, or it cannot be reached from here
    job_id = registry.submit(webhook_url=f"http://{NAME}:{receiver.server_port}/")
    with registry.database.session() as session:
        open_delivery(session, job_id)
    database = connect(registry.url)
    senders = Senders(database, allow_private=False)
    errors: list[str] = []

    for attempt in (1, 2):
        registry.rows("UPDATE deliveries SET due_at = now(), last_error = NULL RETURNING id")
        senders.wake()
        deadline = time.monotonic() + 20
        told = "SELECT last_error FROM deliveries WHERE attempts = :n AND last_error IS NOT NULL"
        while not (found := registry.rows(told, n=attempt)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        errors.append(found[0].last_error)
    senders.close()
    database.close()

    assert errors[0] != "a private address"
    assert errors[1] == "a private address"
    assert seen(receiver) == []


@pytest.mark.parametrize("host", WRITTEN)
def test_however_this_machine_is_written_nothing_is_sent_to_it(receiver: ThreadingHTTPServer, host: str) -> None:
    with pytest.raises(Undeliverable):
        post(f"http://{host}:{receiver.server_port}/", b"{}", {}, allow_private=False)

    assert seen(receiver) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nobody_is_followed(receiver: ThreadingHTTPServer, status: int) -> None:
    with receiving(Receiver) as inner:
        url = f"http://127.0.0.1:{receiver.server_port}/to/{inner.server_port}/{status}"
        with pytest.raises(Undeliverable, match=f"status {status}"):
            post(url, b"{}", {}, allow_private=True)

        assert seen(inner) == []
    assert len(seen(receiver)) == 1


@pytest.mark.parametrize("url", TRICKS)
def test_what_is_no_plain_web_address_is_refused_at_submission(site: Site, url: str) -> None:
    body = {"kind": "generate", "model": MODEL, "inputs": [{"prompt": "a"}], "webhook_url": url}

    answer = site.client("ten_hooks").send("POST", "/v1/jobs", json=body)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "webhook_url")


@pytest.mark.parametrize(
    "url", [f"http://{NAME}#@127.0.0.1/", f"http://{NAME}?@127.0.0.1/", f"http://{NAME}/@127.0.0.1"]
)
def test_of_what_looks_like_two_hosts_the_first_is_meant(
    monkeypatch: pytest.MonkeyPatch, connected: list[str], url: str
) -> None:
    resolver = Resolver(PUBLIC)
    monkeypatch.setattr(socket, "getaddrinfo", resolver)

    with pytest.raises(Undeliverable):
        post(url, b"{}", {}, allow_private=False)

    assert (connected, resolver.asked) == ([PUBLIC], [NAME])
