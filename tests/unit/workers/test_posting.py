"""Webhooks on the wire: signed as the standard says, accepted by 2xx alone, and never to where they must not go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from openai import OpenAI

from tests.tools.receiving import receiving
from workers import posting
from workers.posting import Undeliverable, _is_public, post, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver(BaseHTTPRequestHandler):
    """Answers with the status that the path names, or drips a header that never ends."""

    def do_POST(self) -> None:
        if self.path == "/drip":
            self._drip()
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        getattr(self.server, "seen").append((self.path, dict(self.headers), body))  # noqa: B009
        self.send_response(int(self.path.strip("/").partition("?")[0]))
        self.send_header("Location", "/200")
        self.end_headers()

    def _drip(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        with suppress(OSError):  # the other side hung up, as it should
            for _ in range(200):
                self.wfile.write(b"x")
                time.sleep(0.05)

    def log_message(self, format: str, *args: object) -> None:
        """Quietly."""


@pytest.fixture
def receiver() -> Iterator[ThreadingHTTPServer]:
    with receiving(Receiver) as server:
        yield server


def address(server: ThreadingHTTPServer, path: str) -> str:
    return f"http://localhost:{server.server_port}{path}"


def test_a_delivery_arrives_whole(receiver: ThreadingHTTPServer) -> None:
    post(address(receiver, "/204?a=b"), b'{"a": 1}', {"webhook-id": "evt_1"}, allow_private=True)

    ((path, headers, body),) = receiver.seen  # type: ignore[attr-defined]
    assert (path, body) == ("/204?a=b", b'{"a": 1}')
    assert (headers["Content-Type"], headers["webhook-id"]) == ("application/json", "evt_1")


@pytest.mark.parametrize("status", [302, 400, 500])
def test_anything_but_2xx_is_no_acceptance_and_nobody_is_followed(receiver: ThreadingHTTPServer, status: int) -> None:
    with pytest.raises(Undeliverable, match=str(status)):
        post(address(receiver, f"/{status}"), b"{}", {}, allow_private=True)

    assert [path for path, _, _ in receiver.seen] == [f"/{status}"]  # type: ignore[attr-defined]


def test_a_receiver_that_drips_its_answer_is_hung_up_on(
    receiver: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "WHOLE_S", 0.3)

    with pytest.raises(Undeliverable):  # its 200 comes after ten seconds, and each byte well within the wait for one
        post(address(receiver, "/drip"), b"{}", {}, allow_private=True)


def test_a_private_address_is_never_connected_to(receiver: ThreadingHTTPServer) -> None:
    with pytest.raises(Undeliverable, match="private"):
        post(address(receiver, "/200"), b"{}", {}, allow_private=False)

    assert receiver.seen == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org",
        "http://",
        "http://nobody.invalid/",
        "http://127.0.0.1:1/",
        "http://127.0.0.1:port/",
        "http://[::1/",
        f"http://{'a' * 70}.example.org/",
        f"http://.{'b' * 300}/",
    ],
)
def test_nowhere_to_deliver_to(url: str) -> None:
    with pytest.raises(Undeliverable):
        post(url, b"{}", {}, allow_private=True)


@pytest.mark.parametrize(
    ("given", "is_public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),  # noqa: S104 - not bound to
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("100.64.0.1", False),
    ],
)
def test_which_addresses_are_public(given: str, is_public: bool) -> None:
    assert _is_public(given) is is_public


def test_openais_client_verifies_the_signature() -> None:
    body = b'{"id": "evt_1", "object": "event", "type": "job.succeeded", "created_at": 1, "data": {"id": "job_1"}}'
    client = OpenAI(api_key="x")
    headers = sign(SECRET, "evt_1", int(time.time()), body)

    client.webhooks.verify_signature(body.decode(), headers, secret=SECRET)
    with pytest.raises(Exception, match="signature"):
        client.webhooks.verify_signature(body.decode() + " ", headers, secret=SECRET)
