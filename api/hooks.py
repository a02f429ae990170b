"""What happens around every request: an id, the body's limit, headers that hold for all answers."""

from __future__ import annotations

import re
import secrets
from typing import Final

from flask import Flask, Response, g, request

from api.bodies import check_length

REQUEST_ID: Final = "X-Request-Id"
GOOD_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def install(app: Flask) -> None:
    """Order matters: the id first, so that a refusal carries it."""
    app.before_request(_name_request)
    app.before_request(check_length)
    app.after_request(_finish)


def _name_request() -> None:
    """Keep the caller's request id if it is one, else draw one."""
    given = request.headers.get(REQUEST_ID, "")
    g.request_id = given if GOOD_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"


def _finish(response: Response) -> Response:
    response.headers.setdefault(REQUEST_ID, g.get("request_id", ""))
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "private, no-cache")
    return response
