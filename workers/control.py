"""The task of the control node: the sweep, which recovers whatever was lost. No torch, no device."""

import time
from functools import cached_property

import structlog
from celery import Task
from sqlalchemy.exc import SQLAlchemyError

from models.database import Database, connect
from models.retention import forget
from models.sweep import sweep
from workers.app import app, settings
from workers.queues import SWEEP_TASK, Bell

log = structlog.get_logger(__name__)

LIMIT = 500  # rows of a kind that one sweep mends
# Sweeps pile up while the control node is away; those that follow closely have nothing to add.
LEAST_S = 0.2
FORGET_S = 0.5  # of a sweep's time, for deleting what is past its date


class Control(Task):  # type: ignore[misc]
    """What a control task keeps between runs. One instance per task and process, made by Celery."""

    swept_at = 0.0

    @cached_property
    def database(self) -> Database:
        return connect(settings.need_database(), pool_size=2, application_name="skim-control")

    @cached_property
    def bell(self) -> Bell:
        return Bell(self.database, self.app)


@app.task(base=Control, bind=True, name=SWEEP_TASK)  # type: ignore[untyped-decorator]  # Celery has no types
def sweep_all(self: Control) -> None:
    """Give expired leases back, end what nobody will end, ring queues that have work, delete what is past its date."""
    if time.monotonic() - self.swept_at < LEAST_S:
        return
    try:
        with self.database.session() as session:
            swept = sweep(session, limit=LIMIT)
    except SQLAlchemyError as error:
        log.warning("sweep failed", reason=type(error).__name__)
        return
    self.swept_at = time.monotonic()
    for model, lane in swept.queues:
        self.bell.ring(model, lane)
    if swept.requeued or swept.ended or swept.expired:
        log.info("swept", requeued=swept.requeued, ended=swept.ended, expired=swept.expired)
    _forget(self.database)


def _forget(database: Database) -> None:
    try:
        num_rows = forget(database, for_s=FORGET_S)
    except SQLAlchemyError as error:
        log.warning("deleting failed", reason=type(error).__name__)
        return
    if num_rows:
        log.info("deleted what was past its date", rows=num_rows)
