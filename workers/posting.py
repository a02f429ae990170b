"""Posting to an address that a client named: signed, within a time, to public hosts only, and following nobody.

The host's name is resolved here and the connection goes to the very address that was looked at, so that a name which
changes its mind in between leads nowhere.
"""

import base64
import hashlib
import hmac
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import SplitResult, urlsplit

CONNECT_S: Final = 5.0
READ_S: Final = 10.0  # of a single wait for the answer
WHOLE_S: Final = 15.0  # of everything: a receiver that drips its answer is hung up on
LATE: Final = f"no answer within {WHOLE_S:g} s"
PORTS: Final = {"http": 80, "https": 443}

# Python's `is_global` has let through: what gateways turn into any IPv4 address, and ranges that were never given out.
UNICAST: Final = ipaddress.IPv6Network("2000::/3")
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
NOWHERE: Final = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)


class Undeliverable(Exception):
    """It was not accepted; `str()` says why in a few words."""


def sign(secret: str, delivery_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a delivery as Standard Webhooks has them: a SHA-256 HMAC over id, time and body.

    `secret` is `whsec_` and base64.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{delivery_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> None:
    """Deliver; only an answer of 2xx is acceptance, a redirection is not followed.

    Raises:
        Undeliverable: no such host, a private address, no answer in time, or another status.
    """
    parts, port = _parsed(url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise Undeliverable("not an http or https address")
    address = _address(parts.hostname, port, allow_private)
    connection = _connection(parts.scheme, parts.hostname, port)
    is_late = threading.Event()
    watchdog = threading.Timer(WHOLE_S, _hang_up, (connection, is_late))
    watchdog.start()
    try:
        connection.sock = socket.create_connection((address, port), CONNECT_S)
        connection.sock.settimeout(READ_S)
        if parts.scheme == "https":
            connection.sock = _secured(connection.sock, parts.hostname)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, {"Content-Type": "application/json", **headers})
        status = connection.getresponse().status
    except (OSError, HTTPException, ValueError) as error:  # ValueError: a path that no request line can hold
        raise Undeliverable(LATE if is_late.is_set() else type(error).__name__) from error
    finally:
        watchdog.cancel()
        connection.close()
    if is_late.is_set():  # hung up on in the middle of the headers, which ends them for the reader
        raise Undeliverable(LATE)
    if not 200 <= status < 300:
        raise Undeliverable(f"status {status}")


def _parsed(url: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        return parts, parts.port or PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise Undeliverable("not an http or https address") from error


def _address(host: str, port: int, allow_private: bool) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label too long for a name
        raise Undeliverable("no such host") from error
    address = str(found[0][4][0])
    if not allow_private and not _is_public(address):
        raise Undeliverable("a private address")
    return address


def _is_public(address: str) -> bool:
    """Whether an address leads out into the world, whatever it is wrapped in."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = _inner(found)
        if inner is None:
            return found in UNICAST and found.is_global and not any(found in network for network in NOWHERE)
        found = inner
    return found.is_global and not found.is_multicast


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a host (mapped) or a gateway of its network (NAT64) makes of an IPv6 address."""
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped


def _connection(scheme: str, host: str, port: int) -> HTTPConnection:
    kind = HTTPSConnection if scheme == "https" else HTTPConnection
    return kind(host, port, timeout=READ_S)


def _secured(plain: socket.socket, host: str) -> ssl.SSLSocket:
    return ssl.create_default_context().wrap_socket(plain, server_hostname=host)


def _hang_up(connection: HTTPConnection, is_late: threading.Event) -> None:
    """Wake whoever waits for the other side. To close the socket would not: the answer's reader holds it open."""
    is_late.set()
    with suppress(OSError):  # it is gone already
        if connection.sock is not None:
            connection.sock.shutdown(socket.SHUT_RDWR)
