"""Entity tags: the same job read twice costs its bytes once."""

from __future__ import annotations

import hashlib

from flask import Response, request
from pydantic import BaseModel

from api.schemas.fields import Answer


def dump(answer: BaseModel) -> bytes:
    """An answer as JSON."""
    return answer.model_dump_json().encode()


def tag(body: bytes) -> str:
    """The strong entity tag of a body."""
    return hashlib.sha256(body).hexdigest()[:32]


def is_known(etag: str) -> bool:
    """Whether the client sent this tag in If-None-Match."""
    return request.if_none_match.contains(etag)


def has_condition() -> bool:
    """Whether the client sent any tag."""
    return bool(request.if_none_match)


def respond(answer: Answer, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The answer with its tag, or 304 where the client of a GET knows it."""
    body = dump(answer)
    etag = tag(body)
    is_same = request.method == "GET" and is_known(etag)
    response = Response(b"" if is_same else body, 304 if is_same else status, content_type="application/json")
    response.set_etag(etag)
    response.headers.update(headers or {})
    return response
