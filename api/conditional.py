"""Entity tags: the same job read twice costs its bytes once."""

from __future__ import annotations

import hashlib

from flask import Response, request

from api.schemas.fields import Answer


def dump(answer: Answer) -> bytes:
    """An answer as JSON."""
    return answer.model_dump_json().encode()


def tag(answer: Answer) -> str:
    """The weak entity tag of an answer: equal while nothing has happened, though a rate may have drifted."""
    return hashlib.sha256(answer.model_dump_json(exclude=answer.drifting).encode()).hexdigest()[:32]


def is_known(answer: Answer) -> bool:
    """Whether the client sent the answer's tag in If-None-Match."""
    return has_condition() and request.if_none_match.contains_weak(tag(answer))


def has_condition() -> bool:
    """Whether the client sent any tag."""
    return "If-None-Match" in request.headers


def respond(answer: Answer, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The answer with its tag, or 304 where the client of a GET knows it."""
    is_same = request.method == "GET" and is_known(answer)
    body = b"" if is_same else dump(answer)
    response = Response(body, 304 if is_same else status, content_type="application/json")
    response.set_etag(tag(answer), weak=True)
    response.headers.update(headers or {})
    return response
