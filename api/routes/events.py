"""A job's progress as server-sent events. Each is the whole job, so whoever resumes misses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from flask import Response, request

from api import sse
from api.adapter import blueprint
from api.auth import auth, principal, watch_key
from api.awaiting import place
from api.callers import is_gone
from api.conditional import dump
from api.documentation import EVENT_CONTENT, PROBLEM_CONTENT, Responses
from api.errors import Unauthorized
from api.marks import HEADER, Mark
from api.schemas.answers import JobAnswer
from api.services import Services, services
from api.views import job_answer
from models.errors import NotFound
from models.jobs import get_job

routes = blueprint("events", "Jobs")

PING_S: Final = 15.0
LASTS_S: Final = 3600.0  # one stream; an EventSource goes on in another
PAUSE_S: Final = 1.0  # between two events of a job that goes on

RESPONSES: Final[Responses] = {
    200: {"description": "Events", "content": EVENT_CONTENT},
    204: {"description": "The job has ended, and the event named by Last-Event-ID said so", "content": {}},
    400: {"description": "No event of this job can have had that Last-Event-ID", "content": PROBLEM_CONTENT},
    503: {"description": "Too many streams", "content": PROBLEM_CONTENT},
}


@routes.get("/v1/jobs/<id:job_id>/events")
@routes.doc(responses=RESPONSES)
@routes.auth_required(auth, roles=["jobs"])
def read_events(job_id: str) -> Response:
    """Follow a job: `progress` whenever it or its place in the queue has changed, and `end` once it is over.

    There is at most one `progress` a second, and the data is the job. With `Last-Event-ID` the stream goes on after
    that event: at once if something has happened since, however much, for each event is the whole job. A stream ends
    without `end` after an hour, to be resumed by its reader, and when the key is revoked or expires.
    """
    text, tenant_id, caller, found = request.headers.get(HEADER), principal().tenant_id, request.environ, services()
    first = _read(found, tenant_id, job_id)
    known = Mark.read(text, Mark.of(first)) if text else None
    if first.finished_at is not None and known == Mark.of(first):
        return Response(status=204)  # an EventSource then stops asking
    with ExitStack() as held:
        held.enter_context(place())
        events = _events(found, tenant_id, job_id, known, caller, watch_key())
        response = sse.respond(events)
        response.call_on_close(events.close)
        response.call_on_close(held.pop_all().close)
    return response


def _events(
    found: Services,
    tenant_id: str,
    job_id: str,
    known: Mark | None,
    caller: dict[str, Any],
    check_key: Callable[[], None],
) -> Generator[bytes, None, None]:
    def look() -> JobAnswer:
        check_key()
        return _read(found, tenant_id, job_id)

    told, deadline = Told(known), time.monotonic() + LASTS_S
    while not found.watcher.is_closed and not is_gone(caller) and (left_s := deadline - time.monotonic()) > 0:
        try:
            seen = found.watcher.until(job_id, look, told.wants, min(PING_S, left_s))
        except (NotFound, Unauthorized):  # the job was erased while it was followed, the key revoked
            return
        if not told.is_news(seen):
            yield sse.PING
            continue
        told = Told(Mark.of(seen), time.monotonic())
        is_over = seen.finished_at is not None
        yield sse.event(dump(seen), name="end" if is_over else "progress", event_id=str(told.mark))
        if is_over:
            return


@dataclass(frozen=True, slots=True)
class Told:
    """The event that the client has, and when it was sent (0: by another stream)."""

    mark: Mark | None
    at: float = 0.0

    def is_news(self, seen: JobAnswer) -> bool:
        """Whether the client has not been told what is seen."""
        return Mark.of(seen) != self.mark

    def wants(self, seen: JobAnswer) -> bool:
        """Whether what is seen is worth an event now."""
        if not self.is_news(seen):
            return False
        return seen.finished_at is not None or time.monotonic() - self.at >= PAUSE_S


def _read(found: Services, tenant_id: str, job_id: str) -> JobAnswer:
    with found.database.session() as session:
        return job_answer(get_job(session, tenant_id, job_id))
