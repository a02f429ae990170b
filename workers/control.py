"""The tasks of the control node: the sweep, which recovers whatever was lost, and the nights. No torch, no device.

They send no events: a sweep every other second would be all that Flower shows.
"""

import time
from functools import cached_property

import structlog
from celery import Celery, Task
from celery.signals import worker_ready
from kombu.exceptions import OperationalError
from sqlalchemy.exc import SQLAlchemyError

from models.database import Database, connect
from models.drift import watch
from models.faults import Point, reach
from models.nights import pass_nights
from models.retention import forget
from models.states import Lane
from models.sweep import sweep
from workers.app import app, settings
from workers.exporter import serve
from workers.meters import JOBS_EXPIRED, LEASE_EXPIRIES, SWEEP_SECONDS, SWEEPS
from workers.queues import DELIVER_TASK, NIGHTS_TASK, SWEEP_TASK, WEBHOOKS, Bell
from workers.queues.meters import PUBLISH_FAILURES

log = structlog.get_logger(__name__)

LIMIT = 500  # rows of a kind that one sweep mends
# Sweeps pile up while the control node is away; those that follow closely have nothing to add.
LEAST_S = 0.2
FORGET_S = 0.5  # of a sweep's time, for deleting what is past its date
REST_S = 10.0  # before that is looked for again, once nothing was left of it
TRUST_S = 1.0  # within a sweep a connection is tried once
STATEMENT_TIMEOUT_MS = 30_000  # as the API's: ending a large job is one statement


class Control(Task):  # type: ignore[misc]
    """What a control task keeps between runs. One instance per task and process, made by Celery."""

    swept_at = 0.0
    forget_at = 0.0

    @cached_property
    def database(self) -> Database:
        return connect(
            settings.need_database(),
            pool_size=2,
            application_name="skim-control",
            statement_timeout_ms=STATEMENT_TIMEOUT_MS,
            trust_s=TRUST_S,
        )

    @cached_property
    def bell(self) -> Bell:
        return Bell(self.database, self.app)


@worker_ready.connect  # type: ignore[untyped-decorator]
def serve_metrics(**_: object) -> None:
    """The node has one process, threads and no children: what it counts is all there is."""
    serve(settings.metrics)


@app.task(base=Control, bind=True, name=SWEEP_TASK, send_events=False)  # type: ignore[untyped-decorator]  # Celery has no types
def sweep_all(self: Control) -> None:
    """Give expired leases back, end what nobody will end, ring queues that have work, delete what is past its date.

    A sweep that is `busy`, because another one is at it, has done nothing that others may rely on.
    """
    if time.monotonic() - self.swept_at < LEAST_S:
        return
    try:
        with SWEEP_SECONDS.time():
            swept = sweep(self.database, limit=LIMIT)
    except SQLAlchemyError as error:
        SWEEPS.labels("failed").inc()
        log.warning("sweep failed", reason=type(error).__name__)
        return
    reach(Point.SWEEP_COMMITTED)
    self.swept_at = time.monotonic()
    SWEEPS.labels("done" if swept.is_whole else "busy").inc()
    LEASE_EXPIRIES.inc(swept.requeued)
    JOBS_EXPIRED.inc(swept.expired)
    for model, lane in swept.queues:
        self.bell.ring(model, lane)
    if swept.has_webhooks:
        _wake_senders(self.app)
    if swept.requeued or swept.ended or swept.expired:
        log.info("swept", requeued=swept.requeued, ended=swept.ended, expired=swept.expired)
    if time.monotonic() >= self.forget_at and not _forget(self.database):
        self.forget_at = time.monotonic() + REST_S


def _wake_senders(app: Celery) -> None:
    try:
        app.send_task(DELIVER_TASK, queue=WEBHOOKS)
    except OperationalError as error:
        PUBLISH_FAILURES.labels(WEBHOOKS.name).inc()
        log.warning("senders could not be told", reason=type(error).__name__)


def _forget(database: Database) -> int:
    """How many rows were deleted."""
    try:
        num_rows = forget(database, for_s=FORGET_S)
    except SQLAlchemyError as error:
        log.warning("deleting failed", reason=type(error).__name__)
        return 0
    if num_rows:
        log.info("deleted what was past its date", rows=num_rows)
    return num_rows


@app.task(base=Control, bind=True, name=NIGHTS_TASK, send_events=False)  # type: ignore[untyped-decorator]  # Celery has no types
def look_after(self: Control) -> None:
    """See whether acceptance has dropped anywhere, and open the searches that schedules want."""
    try:
        with self.database.session() as session:
            drifted = watch(session)
        with self.database.session() as session:
            nights = pass_nights(session)
    except SQLAlchemyError as error:
        log.warning("schedules could not be looked at", reason=type(error).__name__)
        return
    if drifted:
        log.info("acceptance has dropped", skip_sets=drifted)
    for night in nights:
        log.info("night", model=night.model, decision=night.decision.value, reason=night.reason, job=night.job_id)
        if night.job_id is not None:
            self.bell.ring(night.model, Lane.SEARCH)
