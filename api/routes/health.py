"""Is the process alive, and can it serve? Open to everybody, told to nobody in detail."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any, Final

from flask import Response, jsonify
from redis import Redis, RedisError

from api.adapter import blueprint
from api.documentation import Responses
from api.services import services
from models.fleet import FleetCount, count_workers

routes = blueprint("health", "Health")
log = logging.getLogger(__name__)

BROKER_TIMEOUT_S: Final = 0.5
READY: Final[dict[str, dict[str, Any]]] = {
    "application/json": {"schema": {"type": "object", "required": ["status", "checks", "workers"]}}
}
RESPONSES: Final[Responses] = {
    200: {"description": "Serves; `degraded` without the broker", "content": READY},
    503: {"description": "No database", "content": READY},
}


@routes.get("/livez")
def live() -> Response:
    """The process answers."""
    return jsonify({"status": "ok"})


@routes.get("/readyz")
@routes.doc(responses=RESPONSES)
def ready() -> Response:
    """Whether requests can be served. Without the broker jobs are still accepted and start later: `degraded`.

    `workers` counts those that decode (`ready`: loaded and warmed up) and those that are about to (`loading`); null
    without the database. Without any, jobs are accepted all the same and wait.
    """
    workers, broker = _workers(), _has_broker()
    status = "unavailable" if workers is None else "ready" if broker else "degraded"
    checks = {"database": _word(workers is not None), "broker": _word(broker)}
    response = jsonify({"status": status, "checks": checks, "workers": None if workers is None else asdict(workers)})
    if workers is None:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return response


def _workers() -> FleetCount | None:
    """The fleet as the database knows it; None where that does not answer."""
    try:
        with services().database.session() as session:
            return count_workers(session)
    except Exception as error:  # whatever the reason, requests cannot be served
        log.warning("the database does not answer: %s", type(error).__name__)
        return None


def _has_broker() -> bool:
    # The broker's address is written as Celery takes it; the client itself calls a socket's scheme `unix`.
    url = services().settings.redis_url.replace("redis+socket://", "unix://", 1)
    client = Redis.from_url(url, socket_timeout=BROKER_TIMEOUT_S, socket_connect_timeout=BROKER_TIMEOUT_S)
    try:
        return bool(client.ping())
    except (RedisError, OSError) as error:
        log.warning("the broker does not answer: %s", type(error).__name__)
        return False
    finally:
        client.close()


def _word(is_there: bool) -> str:
    return "ok" if is_there else "unreachable"
