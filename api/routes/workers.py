"""Workers: the devices that decode, as they announced themselves."""

from __future__ import annotations

from apiflask import APIBlueprint
from models.fleet import list_workers

from api.auth import auth
from api.schemas.lists import WorkerPage
from api.services import services
from api.views import page_of, worker_answer

routes = APIBlueprint("workers", __name__, tag="Workers")


@routes.get("/v1/workers")
@routes.auth_required(auth)
@routes.output(WorkerPage)
def read_workers() -> WorkerPage:
    """List workers: device, model, rows, and when each was last heard of."""
    with services().database.session() as session:
        views = list_workers(session)
    return page_of(WorkerPage, [worker_answer(view) for view in views], has_more=False)
