"""The one place where errors become responses: RFC 9457 problems with an embedded OpenAI-style `error` member.

Foreign errors (registry, database, framework) are given their status here; anything unknown is a 500 that tells the
client a request id and the log the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from apiflask import APIFlask, HTTPError
from flask import Response, g, json
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from api.errors import ApiError, Fault
from models import errors
from models.database import is_outage
from models.errors import RegistryError

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
MAX_FAULTS: Final = 20
OPENAI_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
}

REGISTRY: Final[Mapping[type[RegistryError], tuple[int, str]]] = {
    errors.NotFound: (404, "not_found"),
    errors.ModelNotFound: (404, "model_not_found"),
    errors.Conflict: (409, "conflict"),
    errors.ModelExists: (409, "model_exists"),
    errors.SearchOpen: (409, "search_open"),
    errors.ModelChanged: (409, "model_changed"),
    errors.WrongPlace: (409, "wrong_place"),
    errors.NothingBefore: (409, "nothing_to_roll_back"),
    errors.CalibrationGone: (409, "calibration_gone"),
    errors.ScheduleTaken: (409, "schedule_taken"),
    errors.InvalidSchedule: (400, "invalid_field"),
    errors.IdempotencyMismatch: (422, "idempotency_mismatch"),
    errors.NoItems: (400, "no_inputs"),
    errors.DuplicateCustomId: (400, "duplicate_custom_id"),
    errors.UnstorableText: (400, "unstorable_text"),
    errors.TenantExists: (409, "tenant_exists"),
    errors.QuotaExceeded: (429, "insufficient_quota"),
    errors.KeyExpired: (401, "invalid_api_key"),
    errors.LeaseLost: (409, "lease_lost"),
}
OPENAI_WORDS: Final = {"insufficient_quota": "insufficient_quota", "rate_limit_exceeded": "rate_limit_error"}

RETRY_S: Final[Mapping[int, int]] = {429: 10, 503: 2}
# OpenAI's clients repeat 409s and 5xx by themselves unless told that it is no use.
FINAL: Final = {"x-should-retry": "false"}


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as the client sees it."""

    status: int
    code: str
    message: str
    faults: tuple[Fault, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)

    def body(self, request_id: str) -> dict[str, Any]:
        """The RFC 9457 members, then `error` as OpenAI's clients parse it."""
        fields = [_fault(fault) for fault in self.faults[:MAX_FAULTS]]
        return {
            "type": f"urn:skim:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.message,
            "request_id": request_id,
            **({"errors": fields} if fields else {}),
            "error": {
                "message": self.message,
                "type": OPENAI_WORDS.get(self.code) or _openai_type(self.status),
                "param": self.faults[0].field if self.faults else None,
                "code": self.code,
            },
        }


def install(app: APIFlask) -> None:
    """Answer every error, the framework's own included, through `respond`."""
    for kind in (HTTPException, HTTPError, Exception):
        app.register_error_handler(kind, respond)
    app.error_processor(respond)


def respond(error: Exception) -> Response:
    """The response of an error; unexpected ones are logged with their trace."""
    problem = describe(error)
    if problem.status == 500 and not isinstance(error, ApiError):
        log.error("request %s failed", g.get("request_id", ""), exc_info=error)
    body = json.dumps(problem.body(g.get("request_id", "")))
    return Response(body, problem.status, problem.headers, content_type=MEDIA_TYPE)


def describe(error: Exception) -> Problem:
    """The problem an exception stands for."""
    match error:
        case ApiError():
            return Problem(error.status, error.code, error.message, error.faults, _headers(error))
        case RegistryError():
            return _registry_problem(error)
        case HTTPException():
            return _http_problem(error)
        case HTTPError():
            kept = _kept(Headers(error.headers))
            return Problem(error.status_code, _code(error.status_code), str(error.message), headers=kept)
    if is_outage(error):
        message = "the database does not answer just now"
        return Problem(503, "database_unavailable", message, headers=_retry(503))
    return Problem(500, "internal_error", "the service failed; the request id finds it in the log")


def _registry_problem(error: RegistryError) -> Problem:
    status, code = next((REGISTRY[kind] for kind in type(error).__mro__ if kind in REGISTRY), (500, "internal_error"))
    return Problem(status, code, str(error), headers=_retry(status) | (FINAL if status == 409 else {}))


def _retry(status: int) -> dict[str, str]:
    return {"Retry-After": str(RETRY_S[status])} if status in RETRY_S else {}


def _http_problem(error: HTTPException) -> Problem:
    """The framework's own, such as an unknown route or method."""
    status = error.code or 500
    return Problem(status, _code(status), error.description or error.name, headers=_kept(Headers(error.get_headers())))


def _kept(headers: Headers) -> dict[str, str]:
    """Of a framework's headers those that say more than its status."""
    return {name: value for name, value in headers if name in ("Allow", "Retry-After")}


def _headers(error: ApiError) -> dict[str, str]:
    headers = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    if error.is_final:
        headers |= FINAL
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def _fault(fault: Fault) -> dict[str, str | int]:
    place: dict[str, str | int] = {} if fault.field is None else {"field": fault.field}
    if fault.line is not None:
        place["line"] = fault.line
    return {**place, "message": fault.message}


def _code(status: int) -> str:
    """A stable word for a status nobody gave a finer one."""
    if status == 429:
        return "rate_limit_exceeded"  # a quota is the registry's, and finer
    return HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")


def _openai_type(status: int) -> str:
    return "server_error" if status >= 500 else OPENAI_TYPES.get(status, "invalid_request_error")
