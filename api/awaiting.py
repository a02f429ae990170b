"""Holding a request until its job has ended. A client that hangs up, or a service that stops, calls the job off.

Not that of a request with an Idempotency-Key: others may wait for the same job, and the same client may ask again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from flask import request

from api.auth import principal
from api.callers import is_gone
from api.errors import Busy, ClientGone, TimedOut
from api.idempotency import key_of_request
from api.services import services
from models.cancel import cancel
from models.database import Database
from models.errors import Conflict, NotFound
from models.jobs import is_over

# What the official clients wait by default, for a whole answer or for the next piece of a stream. Of an answer that is
# not streamed it is the job's own deadline; a stream goes on for as long as a repeated request finds its job.
PATIENCE_S: Final = 600
STREAM_S: Final = 24 * 3600
SLACK_S: Final = 10.0  # the sweep that ends a job past its deadline may be a little late
RETRY_S: Final = 2


@contextmanager
def place() -> Iterator[None]:
    """A place among the long requests; raises Busy, before anything was done, where there is none."""
    with services().gate.entered(principal().tenant_id) as is_in:
        if not is_in:
            raise Busy("too many long requests at once", retry_after_s=RETRY_S)
        yield


def await_end(job_id: str) -> None:
    """Return once the job has ended.

    Raises:
        ClientGone: nobody listens any more.
        Busy: the service stops.
        TimedOut: it did not end in time.
    """
    try:
        if not services().watcher.until(job_id, lambda: _look(job_id), bool, PATIENCE_S + SLACK_S):
            raise _reason()
    except Exception:
        if not is_repeatable():
            call_off(services().database, principal().tenant_id, job_id)
        raise


def is_repeatable() -> bool:
    """Whether the request can be sent again and is then given the same job."""
    return key_of_request() is not None


def call_off(database: Database, tenant_id: str, job_id: str) -> None:
    """Cancel the job unless it has ended or is gone."""
    try:
        with database.session() as session:
            cancel(session, tenant_id, job_id)
    except (Conflict, NotFound):
        return


def _look(job_id: str) -> bool:
    if is_gone(request.environ):
        raise ClientGone("the client hung up")
    with services().database.session() as session:
        return is_over(session, job_id)


def _reason() -> Busy | TimedOut:
    if services().watcher.is_closed:
        return Busy("the service is stopping", retry_after_s=RETRY_S)
    return TimedOut(f"no answer within {PATIENCE_S} s")
