"""The task of the webhooks queue: tells the owners of jobs that have ended. On a control node, never a device's."""

import json
import threading
import time
from functools import cached_property
from typing import Final

import structlog
from celery import Task
from sqlalchemy.exc import SQLAlchemyError

from models.database import Database, connect
from models.deliveries import Taken, note_delivered, note_failed, secret_of, take_delivery
from models.faults import Point, reach
from workers.app import app, settings
from workers.posting import Undeliverable, post, sign
from workers.queues import DELIVER_TASK

log = structlog.get_logger(__name__)

# Receivers may be slow: no more threads of the node than this are lent to them, or the sweep would wait.
AT_ONCE: Final = 2
BUDGET_S: Final = 30.0  # of one task; what is left is for the next


class Deliverer(Task):  # type: ignore[misc]
    """What the task keeps between runs. One instance per process, made by Celery."""

    places = threading.BoundedSemaphore(AT_ONCE)

    @cached_property
    def database(self) -> Database:
        return connect(settings.need_database(), pool_size=AT_ONCE, application_name="skim-webhooks")


@app.task(base=Deliverer, bind=True, name=DELIVER_TASK)  # type: ignore[untyped-decorator]  # Celery has no types
def deliver_all(self: Deliverer) -> None:
    """Send what is due, one after the other."""
    if not self.places.acquire(blocking=False):
        return
    try:
        until = time.monotonic() + BUDGET_S
        while time.monotonic() < until and _deliver_one(self.database):
            pass
    except SQLAlchemyError as error:
        log.warning("deliveries failed", reason=type(error).__name__)
    finally:
        self.places.release()


def _deliver_one(database: Database) -> bool:
    """Send the next; False when nothing is due. No transaction is open while it is sent."""
    with database.session() as session:
        taken = take_delivery(session)
        secret = "" if taken is None else secret_of(session, taken.tenant_id)
    if taken is None:
        return False
    reach(Point.DELIVER_TAKEN)
    body = _body(taken)
    try:
        headers = sign(secret, taken.id, int(time.time()), body)
        post(taken.url, body, headers, allow_private=settings.allows_private_webhooks)
    except Undeliverable as error:
        log.warning("webhook not delivered", job=taken.job["id"], attempt=taken.attempts, reason=str(error))
        with database.session() as session:
            note_failed(session, taken, str(error))
        return True
    reach(Point.DELIVER_SENT)
    with database.session() as session:
        note_delivered(session, taken.id)
    reach(Point.DELIVER_COMMITTED)
    return True


def _body(taken: Taken) -> bytes:
    event = {
        "id": taken.id,
        "object": "event",
        "type": f"job.{taken.job['status']}",
        "created_at": int(taken.created_at.timestamp()),
        "data": taken.job,
    }
    return json.dumps(event).encode()
