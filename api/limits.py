"""Rate limits by API key, counted in Redis for all processes together. They fail open.

While Redis is away each process counts for itself and looks again later and later, so that no request waits for it
twice.
"""

from __future__ import annotations

import hashlib
from typing import Final

from flask import Flask, request
from flask_limiter import HeaderNames, Limiter

from api.settings import Settings

TIMEOUT_S: Final = 0.3
HEADERS: Final = {
    HeaderNames.LIMIT: "X-RateLimit-Limit",
    HeaderNames.REMAINING: "X-RateLimit-Remaining",
    HeaderNames.RESET: "X-RateLimit-Reset",
    HeaderNames.RETRY_AFTER: "Retry-After",
}


def install(app: Flask, settings: Settings) -> None:
    """Count the requests of each key under /v1, if a limit is set."""
    if not settings.rate_limit:
        return
    Limiter(
        _who,
        app=app,
        application_limits=[settings.rate_limit],
        application_limits_exempt_when=lambda: not request.path.startswith("/v1/"),
        strategy="moving-window",
        storage_uri=_address(settings.redis_url),
        storage_options={"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S},  # type: ignore[dict-item]
        in_memory_fallback_enabled=True,
        swallow_errors=True,
        headers_enabled=True,
        header_name_mapping=HEADERS,
        key_prefix="skim",
    )


def _who() -> str:
    """A key by its digest: the counter's name is no place for a secret. Without one, where the request comes from."""
    secret = request.headers.get("Authorization", "")
    return hashlib.sha256(secret.encode()).hexdigest()[:32] if secret else request.remote_addr or "unknown"


def _address(redis_url: str) -> str:
    """The broker's address as the limiter's storage takes it."""
    return redis_url.replace("redis+socket://", "redis+unix://", 1)
