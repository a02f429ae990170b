"""Answers of any length in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Final

from flask import Response

from api.auth import principal
from api.errors import Busy
from api.gate import Gate

CHUNK_BYTES: Final = 64 * 1024
RETRY_S: Final = 2
MEDIA_TYPE: Final = "application/x-ndjson"


def stream(gate: Gate, lines: Callable[[], AbstractContextManager[Iterable[bytes]]]) -> Response:
    """Answer with the lines; `lines` is opened when the first byte is asked for and closed with the response.

    Raises:
        Busy: there are too many long polls and streams already, of the tenant or of all.
    """
    return stream_chunks(gate, _chunks(lines), MEDIA_TYPE)


def stream_chunks(gate: Gate, chunks: Iterator[bytes], media_type: str) -> Response:
    """Answer with the pieces as they come; raises Busy likewise."""
    tenant_id = principal().tenant_id
    if not gate.try_enter(tenant_id):
        raise Busy("too many long requests at once", retry_after_s=RETRY_S)
    response = Response(chunks, content_type=media_type)
    response.call_on_close(lambda: gate.leave(tenant_id))
    return response


def _chunks(lines: Callable[[], AbstractContextManager[Iterable[bytes]]]) -> Iterator[bytes]:
    """Whole lines, many to a write: one write a line would cost more than making the line."""
    with lines() as opened:
        chunk = bytearray()
        for line in opened:
            chunk += line
            chunk += b"\n"
            if len(chunk) >= CHUNK_BYTES:
                yield bytes(chunk)
                chunk.clear()
        yield bytes(chunk)
