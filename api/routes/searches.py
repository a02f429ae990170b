"""Searches of the tenant: what they look for, what they found, every trial, and the picture of it."""

from __future__ import annotations

from itertools import islice
from typing import Final

from flask import Response

from api import report
from api.adapter import blueprint
from api.auth import auth, principal
from api.conditional import respond
from api.documentation import Responses
from api.finding_views import full_search_answer, search_answer, trial_answer
from api.schemas.found import FullSearchAnswer
from api.schemas.lists import SearchPage, TrialPage
from api.schemas.pages import NumberCursor, SearchCursor
from api.services import services
from api.views import page_of
from models.findings import get_finding, list_findings, list_trials, stream_trials

routes = blueprint("searches", "Searches")

MAX_DRAWN: Final = 20_000  # trials read for a picture
RESPONSES: Final[Responses] = {
    200: {"description": "An HTML page", "content": {"text/html": {"schema": {"type": "string"}}}},
}
# The page asks for nothing; this makes sure that a browser asks for nothing on its behalf either.
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


@routes.get("/v1/searches")
@routes.auth_required(auth, roles=["jobs"])
@routes.input(SearchCursor, location="query")
@routes.output(SearchPage)
def read_searches(query_data: SearchCursor) -> SearchPage:
    """List searches, newest first."""
    with services().database.session() as session:
        page = list_findings(
            session,
            principal().tenant_id,
            model=query_data.model,
            after=query_data.after,
            limit=query_data.limit,
        )
    return page_of(SearchPage, [search_answer(view) for view in page.data], has_more=page.has_more)


@routes.get("/v1/searches/<id:job_id>")
@routes.doc(responses={304: "Not modified"})
@routes.auth_required(auth, roles=["jobs"])
@routes.output(FullSearchAnswer)
def read_search(job_id: str) -> Response:
    """Read a search and the evidence of its verdict; it outlives its job."""
    with services().database.session() as session:
        return respond(full_search_answer(get_finding(session, principal().tenant_id, job_id)))


@routes.get("/v1/searches/<id:job_id>/trials")
@routes.auth_required(auth, roles=["jobs"])
@routes.input(NumberCursor, location="query")
@routes.output(TrialPage)
def read_trials(job_id: str, query_data: NumberCursor) -> TrialPage:
    """List what was tried, in order, also while the search runs."""
    with services().database.session() as session:
        page = list_trials(session, principal().tenant_id, job_id, after=query_data.after, limit=query_data.limit)
    return page_of(TrialPage, [trial_answer(view) for view in page.data], has_more=page.has_more)


@routes.get("/v1/searches/<id:job_id>/report")
@routes.doc(responses=RESPONSES)
@routes.auth_required(auth, roles=["jobs"])
def read_report(job_id: str) -> Response:
    """The picture of a search as one HTML page: layer map, trials, estimate and measurement, finalists."""
    with services().database.session() as session:
        found = get_finding(session, principal().tenant_id, job_id)
        page = report.render(found, list(islice(stream_trials(session, job_id), MAX_DRAWN)))
    return Response(page, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": POLICY})
