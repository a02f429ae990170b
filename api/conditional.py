"""Entity tags: the same job read twice costs its bytes once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from flask import Response, request

from api.schemas.fields import Answer


@dataclass(frozen=True, slots=True)
class Rendered:
    """An answer as JSON, and its weak entity tag."""

    body: bytes
    tag: str


def render(answer: Answer) -> Rendered:
    """The bytes of an answer with their tag."""
    return Rendered(dump(answer), tag(answer))


def dump(answer: Answer) -> bytes:
    """An answer as JSON."""
    return answer.model_dump_json().encode()


def tag(answer: Answer) -> str:
    """The weak entity tag of an answer: equal while nothing has happened, though what drifts may have."""
    return hashlib.sha256(answer.model_dump_json(exclude=answer.drifting).encode()).hexdigest()[:32]


def is_known(answer: Rendered) -> bool:
    """Whether the client sent the answer's tag in If-None-Match."""
    return has_condition() and request.if_none_match.contains_weak(answer.tag)


def has_condition() -> bool:
    """Whether the client sent any tag."""
    return "If-None-Match" in request.headers


def respond(answer: Answer | Rendered, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """The answer with its tag, or 304 where the client of a GET knows it."""
    rendered = answer if isinstance(answer, Rendered) else render(answer)
    is_same = request.method == "GET" and is_known(rendered)
    response = Response(b"" if is_same else rendered.body, 304 if is_same else status, content_type="application/json")
    response.set_etag(rendered.tag, weak=True)
    response.headers.update(headers or {})
    return response
