"""What Prometheus asks for. By default for operators' keys only: how busy the service is is nobody else's business."""

from __future__ import annotations

from typing import Final, cast

from flask import Response

from api.adapter import blueprint
from api.auth import auth, check_operator
from api.documentation import Responses, refusals
from api.exposition import expose
from api.services import services

routes = blueprint("metrics", "Health")

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
RESPONSES: Final[Responses] = {
    200: {"description": "Prometheus' text format", "content": {"text/plain": {"schema": {"type": "string"}}}},
    **refusals(_401="No key", _403="Not an operator's key", _503="No database just now"),
}


@routes.get("/metrics")
@routes.doc(responses=RESPONSES)
def read_metrics() -> Response:
    """Counters and gauges, for keys of the first tenant with scope `metrics`.

    For everybody who reaches the API where `SKIM_METRICS_OPEN` is `yes`; that works without the database, too.
    """
    return _answer() if services().settings.metrics_open else cast(Response, _guarded())


@auth.login_required(role=["metrics"])  # type: ignore[untyped-decorator]
def _guarded() -> Response:
    check_operator()
    return _answer()


def _answer() -> Response:
    body = expose(services().gauges, services().settings.metrics_folder)
    return Response(body, content_type=CONTENT_TYPE)
