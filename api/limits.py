"""Rate limits by API key, counted in Redis for all processes together. They fail open.

While Redis is away everything passes, and each process looks for it later and later, so that no request waits for it
twice.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from flask import Flask, Response, request
from flask_limiter import Limiter

from api.auth import key_id_of_request
from api.settings import Settings

TIMEOUT_S: Final = 0.3
OPEN: Final = 1_000_000_000  # a second and endpoint: nobody's limit, for the library wants one while Redis is away


def install(app: Flask, settings: Settings) -> None:
    """Count the requests of each key under /v1, if a limit is set."""
    if not settings.rate_limit:
        return
    limiter = Limiter(
        _who,
        app=app,
        application_limits=[settings.rate_limit],
        application_limits_exempt_when=lambda: not request.path.startswith("/v1/"),
        strategy="moving-window",
        storage_uri=_address(settings.redis_url),
        storage_options={"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S},  # type: ignore[dict-item]
        in_memory_fallback=[f"{OPEN} per second"],
        swallow_errors=True,
        key_prefix="skim",
    )
    app.after_request(partial(_tell, limiter))


def _tell(limiter: Limiter, response: Response) -> Response:
    """Say what is left of the limit, and to whom it refused, when to come back.

    The library's own headers say the latter to everybody, whose jobs and full queues have times of their own.
    """
    counted = limiter.current_limit
    if counted is None or counted.limit.amount == OPEN:
        return response
    try:
        remaining, reset_at = counted.remaining, counted.reset_at
    except Exception:  # whatever has become of Redis since the request was counted
        return response
    response.headers["X-RateLimit-Limit"] = str(counted.limit.amount)
    response.headers["X-RateLimit-Remaining"] = str(remaining)
    response.headers["X-RateLimit-Reset"] = str(reset_at)
    if counted.breached:
        response.headers["Retry-After"] = str(max(1, reset_at - int(time.time())))
    return response


def _who() -> str:
    """The key, however its header is spelt; without a good one, where the request comes from."""
    return key_id_of_request() or request.remote_addr or "unknown"


def _address(redis_url: str) -> str:
    """The broker's address as the limiter's storage takes it."""
    return redis_url.replace("redis+socket://", "redis+unix://", 1)
