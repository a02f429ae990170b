"""Requests written byte by byte, for what no HTTP client would send."""

from __future__ import annotations

import socket
from contextlib import suppress
from urllib.parse import urlsplit


def connect(url: str, *, receive_bytes: int | None = None, timeout_s: float = 30.0) -> socket.socket:
    """A connection; `receive_bytes` makes its buffer small."""
    parts = urlsplit(url)
    client = socket.socket()
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(timeout_s)
    client.connect((parts.hostname, parts.port))
    return client


def talk(url: str, *parts: bytes) -> bytes:
    """Send the parts and read until the server hangs up; ask it to."""
    answer = b""
    with connect(url) as client, suppress(ConnectionResetError, BrokenPipeError):
        for part in parts:
            client.sendall(part)
        client.shutdown(socket.SHUT_WR)
        while data := client.recv(65536):
            answer += data
    return answer


def head(method: str, path: str, *headers: tuple[str, str | bytes]) -> bytes:
    """Request line and headers, as they are given."""
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: skim", b"Connection: close"]
    lines += [
        name.encode() + b": " + (value if isinstance(value, bytes) else value.encode()) for name, value in headers
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def status(answer: bytes) -> int:
    """Of a raw answer."""
    return int(answer.split(b" ", 2)[1])
