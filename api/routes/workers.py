"""Workers: the devices that decode, as they announced themselves."""

from __future__ import annotations

from api.adapter import blueprint
from api.auth import auth
from api.schemas.lists import WorkerPage
from api.schemas.pages import WorkerCursor
from api.services import services
from api.views import page_of, worker_answer
from models.fleet import list_workers

routes = blueprint("workers", "Workers")


@routes.get("/v1/workers")
@routes.auth_required(auth)
@routes.input(WorkerCursor, location="query")
@routes.output(WorkerPage)
def read_workers(query_data: WorkerCursor) -> WorkerPage:
    """List workers: device, model, rows, and when each was last heard of."""
    with services().database.session() as session:
        views = list_workers(session, model=query_data.model)
    # A fleet fits in memory, so the page is cut here.
    start = next((place for place, view in enumerate(views, 1) if view.id == query_data.after), 0)
    end = start + query_data.limit
    return page_of(WorkerPage, [worker_answer(view) for view in views[start:end]], has_more=end < len(views))
