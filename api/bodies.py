"""Reading request bodies within their limits: whole JSON documents, or JSON Lines one line at a time.

A declared length over the limit is refused before a byte is read; an undeclared one (chunked) as soon as it passes it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

from flask import request

from api.errors import Malformed, TooLarge, WrongMediaType
from api.services import services

JSON: Final = "application/json"
JSON_LINES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
MAX_LINE_BYTES: Final = 16 * 1024 * 1024


def limit_body() -> None:
    """Before each request: fix how much may be read, and refuse what says it is longer."""
    settings = services().settings
    limit = settings.max_stream_bytes if is_json_lines() else settings.max_body_bytes
    request.max_content_length = limit
    if (request.content_length or 0) > limit:
        raise too_large()


def is_json_lines() -> bool:
    """Whether the body says that it is JSON Lines."""
    return request.mimetype in JSON_LINES


def read_json() -> bytes:
    """The whole body of a JSON request; raises WrongMediaType, TooLarge, and TooSlow through the framework."""
    if request.mimetype != JSON:
        raise WrongMediaType(f"send {JSON}, not {request.mimetype or 'a body without a content type'}")
    return request.get_data(cache=False)


def read_lines() -> Iterator[tuple[int, bytes]]:
    """The lines of a JSON Lines body with their numbers from 1; blank lines at the very end do not count.

    Raises:
        Malformed: a blank line in the middle, or one over the limit.
    """
    stream = io.BufferedReader(request.stream, 256 * 1024)  # type: ignore[type-var]
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


def too_large() -> TooLarge:
    """The refusal, with the limit that applies to this request."""
    limit = (request.max_content_length or 0) // 2**20
    hint = "" if is_json_lines() else "; send many inputs as application/x-ndjson"
    return TooLarge(f"the body is over the limit of {limit} MiB{hint}")
