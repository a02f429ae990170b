"""Server-sent events: how they are written, and the response that carries them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flask import Response

MEDIA_TYPE: Final = "text/event-stream"
PING: Final = b": still here\n\n"  # a comment, for proxies that hang up on silence
# Caches and proxies must pass each event on as it comes.
HEADERS: Final = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


def event(data: bytes, *, name: str | None = None, event_id: str | None = None) -> bytes:
    """One event of a single line of data."""
    head = "" if event_id is None else f"id: {event_id}\n"
    head += "" if name is None else f"event: {name}\n"
    return head.encode() + b"data: " + data + b"\n\n"


def respond(events: Iterator[bytes], headers: dict[str, str] | None = None) -> Response:
    """A response of events, each written as it comes."""
    return Response(events, headers={**HEADERS, **(headers or {})}, content_type=MEDIA_TYPE)
