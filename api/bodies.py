"""Reading request bodies within their limits: whole JSON documents, or JSON Lines one line at a time.

A declared length over the limit is refused before a byte is read; an undeclared one (chunked) as soon as it passes it.
The framework's own stream is not used: it cuts a body that is too long, and takes one that broke off for a whole one.
A long body is read by a thread that waits for its client, so only some of the threads do that at once. Behind JSON
Lines and forms comes a long COPY: they keep their place for it, so that they never hold all connections. Behind JSON
may come a completion, which takes minutes and next to nothing: it gives its place back with its last byte.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final, Protocol

from flask import g, request

from api.auth import principal
from api.errors import Busy, Malformed, TooLarge, TooSlow, WrongMediaType
from api.services import services

JSON: Final = "application/json"
FORM: Final = "multipart/form-data"
FORM_BYTES: Final = 64 * 1024  # what a form may have beside the file in it
JSON_LINES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
BUFFER_BYTES: Final = 256 * 1024
SHORT_BYTES: Final = 32 * 1024  # the server has gathered as much before a request gets a thread
RETRY_S: Final = 2


class Source(Protocol):
    """What a WSGI server hands over."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; empty at the end."""


class BodyStream(io.RawIOBase):
    """The body of a request, from its first byte to exactly its last.

    Raises:
        TooLarge: it has more than `limit` bytes.
        TooSlow: it stopped arriving.
        Malformed: the client hung up before the end.
    """

    def __init__(
        self, source: Source, length: int | None, limit: int, at_end: Callable[[], None] = lambda: None
    ) -> None:
        self._source = source
        self._length = length
        self._limit = limit
        self._at_end = at_end
        self._num_read = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # typeshed names no narrower type
        """Fill the buffer as far as one read goes; 0 at the end."""
        # One byte more than allowed tells a body that is too long from one that just fits.
        end = self._limit + 1 if self._length is None else self._length
        data = self._read(min(len(buffer), end - self._num_read))
        self._num_read += len(data)
        if self._num_read > self._limit:
            raise too_large(self._limit)
        if not data:
            self._at_end()
        buffer[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        if size == 0:
            return b""
        try:
            data = self._source.read(size)
        except TimeoutError as error:
            raise TooSlow("the body stopped arriving") from error
        except (OSError, ValueError) as error:  # a reset connection, or chunks that are none
            raise Malformed("the body broke off") from error
        if not data and self._length is not None:
            raise Malformed(f"the body broke off after {self._num_read} of {self._length} bytes")
        return data


def check_length() -> None:
    """Before each request: refuse a body that says it is too long."""
    length = request.content_length
    if length and length > (limit := _limit()):
        raise too_large(limit)


def is_json_lines() -> bool:
    """Whether the body says that it is JSON Lines."""
    return request.mimetype in JSON_LINES


def is_json() -> bool:
    """Whether the body says that it is JSON."""
    return request.mimetype == JSON


def is_absent() -> bool:
    """Whether there is no body; one of unknown length counts as one."""
    return not request.content_length and "chunked" not in request.headers.get("Transfer-Encoding", "").lower()


def read_json() -> bytes:
    """The whole body of a JSON request; raises WrongMediaType and what `BodyStream` does."""
    if not is_json():
        raise WrongMediaType(f"send {JSON}, not {request.mimetype or 'a body without a content type'}")
    return body_stream().read()


def read_lines() -> Iterator[tuple[int, bytes]]:
    """The lines of a JSON Lines body; raises as `numbered` and `BodyStream` do."""
    return numbered(body_stream())


def numbered(stream: io.BufferedReader) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1; blank lines at the very end do not count.

    Raises:
        Malformed: a blank line in the middle, or one over the limit.
    """
    blank = None
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b""), start=1):
        if len(line) > MAX_LINE_BYTES:
            raise Malformed(f"longer than {MAX_LINE_BYTES // 2**20} MiB", number)
        if not line.strip():
            blank = blank or number
            continue
        if blank:
            raise Malformed("the line is empty", blank)
        yield number, line


def too_large(limit: int) -> TooLarge:
    """The refusal, with the limit that applies to this request."""
    hint = "; send many inputs as application/x-ndjson" if is_json() else ""
    return TooLarge(f"the body is over the limit of {limit // 2**20} MiB{hint}")


def body_stream() -> io.BufferedReader:
    """The body as it arrives, within the limit of its media type; raises Busy where too many are long."""
    length = request.content_length
    # Without a length only a server that marks the end of the body (chunked) can be read to the end.
    if length is None and not request.environ.get("wsgi.input_terminated"):
        length = 0
    source, leave = request.environ["wsgi.input"], _enter(length)
    return io.BufferedReader(BodyStream(source, length, _limit(), leave), BUFFER_BYTES)


def leave(_: BaseException | None = None) -> None:
    """After each request: give back the place of a body that has not been given back at its end."""
    g.pop("body_place", ExitStack()).close()


def _enter(length: int | None) -> Callable[[], None]:
    """Take a place among long bodies; returns what to do with it at the last byte. Raises Busy."""
    place: ExitStack = g.setdefault("body_place", ExitStack())
    if length is None or length > SHORT_BYTES:
        tenant_id = principal().tenant_id
        if not services().bodies.try_enter(tenant_id):
            raise Busy("too many long bodies at once", retry_after_s=RETRY_S)
        place.callback(services().bodies.leave, tenant_id)
    return place.close if is_json() else lambda: None


def _limit() -> int:
    settings = services().settings
    if request.mimetype == FORM:
        return settings.max_stream_bytes + FORM_BYTES
    return settings.max_stream_bytes if is_json_lines() else settings.max_body_bytes
