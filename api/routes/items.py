"""Items of a job: page by page while it runs, all at once when it has finished."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Final

from flask import Response

from api import results
from api.adapter import blueprint
from api.auth import auth, principal
from api.documentation import PROBLEM_CONTENT, Responses
from api.errors import NotFinished
from api.schemas.lists import ItemPage
from api.schemas.pages import ItemCursor
from api.services import services
from api.streams import MEDIA_TYPE, stream
from api.views import item_answer, page_of
from models.items import list_items
from models.jobs import get_job
from models.states import ItemStatus, JobKind

routes = blueprint("items", "Jobs")

RESPONSES: Final[Responses] = {
    200: {"description": "One item a line", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
    409: {"description": "Not finished", "content": PROBLEM_CONTENT},
    503: {"description": "Too many streams", "content": PROBLEM_CONTENT},
}


@routes.get("/v1/jobs/<id:job_id>/items")
@routes.auth_required(auth, roles=["jobs"])
@routes.input(ItemCursor, location="query")
@routes.output(ItemPage)
def read_items(job_id: str, query_data: ItemCursor) -> ItemPage:
    """List items in the order of their inputs; those that have finished carry their results."""
    with services().database.session() as session:
        page = list_items(
            session,
            principal().tenant_id,
            job_id,
            after=query_data.after,
            limit=query_data.limit,
            status=None if query_data.status is None else ItemStatus(query_data.status),
        )
    return page_of(ItemPage, [item_answer(view) for view in page.data], has_more=page.has_more)


@routes.get("/v1/jobs/<id:job_id>/results")
@routes.doc(responses=RESPONSES)
@routes.auth_required(auth, roles=["jobs"])
def read_results(job_id: str) -> Response:
    """All items of a finished job as JSON Lines, in the order of their inputs; of a search all its trials."""
    tenant_id, database = principal().tenant_id, services().database
    with database.session() as session:
        job = get_job(session, tenant_id, job_id)
    if job.finished_at is None:
        raise NotFinished(f"{job_id} has not finished; /items serves what there is so far", retry_after_s=1)
    lines = results.trials if job.kind is JobKind.SEARCH else results.items
    return stream(services().gate, lambda: nullcontext(lines(database, tenant_id, job_id)))
