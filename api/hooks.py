"""What happens around every request: an id, the body's limit, headers that hold for all answers, a line and a count."""

from __future__ import annotations

import re
import secrets
import time
from typing import Final

import structlog
from flask import Flask, Response, g, request
from structlog.contextvars import bind_contextvars, clear_contextvars

from api.bodies import check_length, leave
from api.meters import REQUEST_SECONDS, REQUESTS
from workers.queues import Origin

REQUEST_ID: Final = "X-Request-Id"
GOOD_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
JOB_ID: Final = re.compile(r"job_[0-9a-z]{26}")
PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})

log = structlog.get_logger(__name__)


def install(app: Flask) -> None:
    """Order matters: the id first, so that a refusal carries it."""
    app.before_request(_name_request)
    app.before_request(check_length)
    app.after_request(_finish)
    app.teardown_request(leave)


def _name_request() -> None:
    """Keep the caller's request id if it is one, else draw one; every line logged from here on has it."""
    given = request.headers.get(REQUEST_ID, "")
    g.request_id = given if GOOD_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
    g.began = time.monotonic()
    g.origin = Origin.of(g.request_id, request.headers)
    clear_contextvars()  # the thread's last request
    bind_contextvars(**g.origin.names)


def _finish(response: Response) -> Response:
    response.headers.setdefault(REQUEST_ID, g.get("request_id", ""))
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Cache-Control", "private, no-cache")
    _tell(response.status_code)
    return response


def _tell(status: int) -> None:
    """Count and log the request: the answer begins now."""
    rule = "unknown" if request.url_rule is None else request.url_rule.rule
    method = request.method if request.method in METHODS else "other"
    passed_s = time.monotonic() - g.get("began", time.monotonic())
    REQUESTS.labels(method, rule, str(status)).inc()
    REQUEST_SECONDS.labels(rule).observe(passed_s)
    say = log.debug if rule in PROBES else log.info
    say("request", method=method, route=rule, status=status, ms=round(passed_s * 1000, 1), **_named())


def _named() -> dict[str, str]:
    """The job that the request is about, where its path names one: whatever else stands there is not for the log."""
    job_id = str((request.view_args or {}).get("job_id"))
    return {"job": job_id} if JOB_ID.fullmatch(job_id) else {}


def origin_of_request() -> dict[str, str]:
    """The ids that a job made by this request keeps."""
    origin: Origin = g.origin
    return origin.fields
