"""Batches: a file of requests, checked, then a job. A batch is a view over that job and keeps no state twice.

Lock order: batch, job.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.orm import Session

from models.cancel import cancel
from models.errors import BatchEnded, BatchNotFound, Conflict
from models.idempotency import release
from models.ids import new_id
from models.jobs import JobView, get_jobs
from models.page import Page, page_of
from models.states import JobStatus
from models.submit import NewItem, NewJob, submit
from models.tables import Batch, File
from models.tables.base import CLOCK
from models.tables.files import FilePurpose, Part

Json = dict[str, Any]

# A batch whose lease is over lost the process that checked it. The lease is renewed while lines are read; while they
# are written the row is locked instead, and a lock goes with its process too.
LEASE_S: Final = 30
UNLEASED_S: Final = 900  # after its creation, for one that a release without leases opened


class BatchStatus(StrEnum):
    """Where a batch is; OpenAI's words."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


ENDED: Final[Mapping[JobStatus, BatchStatus]] = {
    JobStatus.SUCCEEDED: BatchStatus.COMPLETED,
    JobStatus.FAILED: BatchStatus.COMPLETED,  # every request failed, and the error file says why
    JobStatus.CANCELLED: BatchStatus.CANCELLED,
    JobStatus.EXPIRED: BatchStatus.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch as the client wants it. `window_s` counts from now; the key is given back where nothing comes of it."""

    tenant_id: str
    input_file_id: str
    endpoint: str
    completion_window: str
    window_s: int
    metadata: Json
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch as its owner sees it; `errors` are those of its lines, and `job` is None until it was found good.

    `finalizing_at` is when its last item ended, while the job is not closed yet, and from then on when that was.
    """

    id: str
    endpoint: str
    input_file_id: str
    completion_window: str
    window_s: int
    metadata: Json
    output_file_id: str | None
    error_file_id: str | None
    errors: Json | None
    created_at: datetime
    failed_at: datetime | None
    cancelled_at: datetime | None
    finalizing_at: datetime | None
    job: JobView | None

    @property
    def status(self) -> BatchStatus:
        """Read from the job, once there is one."""
        if self.job is None:
            if self.failed_at is not None:
                return BatchStatus.FAILED
            return BatchStatus.VALIDATING if self.cancelled_at is None else BatchStatus.CANCELLED
        if self.job.status in ENDED:
            return ENDED[self.job.status]
        if self.job.cancel_requested_at is not None:
            return BatchStatus.CANCELLING
        is_open = self.job.counts.queued or self.job.counts.running
        return BatchStatus.IN_PROGRESS if is_open else BatchStatus.FINALIZING


IS_VALIDATING: Final = (Batch.job_id.is_(None), Batch.failed_at.is_(None), Batch.cancelled_at.is_(None))

# The output lives in the job: a tenant that keeps its jobs for less keeps this one for as long as was asked for.
KEEP_FOR_OUTPUT: Final = text("""
UPDATE jobs SET keep_s = :keep_s FROM tenants
WHERE jobs.id = :job_id AND tenants.id = jobs.tenant_id AND tenants.keep_s < :keep_s
""")

RENEW: Final = text("""
UPDATE batches SET checking_until = statement_timestamp() + make_interval(secs => :lease_s)
WHERE id = :id AND job_id IS NULL AND failed_at IS NULL AND cancelled_at IS NULL
""")

# Whoever checked them is gone: nobody else would ever end them.
GIVE_UP: Final = text("""
UPDATE batches SET failed_at = statement_timestamp(), errors = CAST(:errors AS jsonb)
WHERE id IN (
    SELECT id FROM batches
    WHERE job_id IS NULL AND failed_at IS NULL AND cancelled_at IS NULL
      AND coalesce(checking_until, created_at + make_interval(secs => :unleased_s)) < statement_timestamp()
    ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
RETURNING id, tenant_id, idempotency_key
""")

LAST_ENDED: Final = text("SELECT max(finished_at) FROM items WHERE job_id = :job_id")

INTERRUPTED: Final = {"code": "validation_interrupted", "message": "the check of the input was interrupted; try again"}


def open_batch(session: Session, new: NewBatch, *, batch_id: str | None = None) -> str:
    """Note a batch whose lines are about to be checked; returns its id. Who checks them calls `renew` in time."""
    batch_id = batch_id or new_id("batch")
    values = {name: getattr(new, name) for name in NewBatch.__slots__ if name != "metadata"}
    until = text("statement_timestamp() + make_interval(secs => :lease_s)").bindparams(lease_s=LEASE_S)
    session.execute(insert(Batch).values(id=batch_id, labels=new.metadata, checking_until=until, **values))
    return batch_id


def renew(session: Session, batch_id: str) -> None:
    """Say that the batch is still being checked, for `LEASE_S` seconds from now."""
    session.execute(RENEW, {"id": batch_id, "lease_s": LEASE_S})


def start_batch(
    session: Session, batch_id: str, new_job: NewJob, items: Iterable[NewItem], *, keep_s: int | None = None
) -> None:
    """Make the job of a batch that was found good; nothing when it was called off meanwhile. Raises as `submit`.

    Its output is there for `keep_s` seconds after the job's end, or as long as the job is.
    """
    query = select(Batch.id).where(Batch.id == batch_id, *IS_VALIDATING).with_for_update()
    if session.scalar(query) is None:
        return
    job_id = submit(session, new_job, items).job_id
    if keep_s is not None:
        session.execute(KEEP_FOR_OUTPUT, {"job_id": job_id, "keep_s": keep_s})
    files = {part: new_id("file") for part in Part}
    for part, file_id in files.items():
        session.execute(
            insert(File).values(
                id=file_id,
                tenant_id=new_job.tenant_id,
                filename=f"{batch_id}_{part.value}.jsonl",
                purpose=FilePurpose.BATCH_OUTPUT,
                job_id=job_id,
                part=part,
                keep_s=keep_s,
            )
        )
    names = {"output_file_id": files[Part.OUTPUT], "error_file_id": files[Part.ERROR]}
    session.execute(update(Batch).where(Batch.id == batch_id).values(job_id=job_id, **names))


def refuse_batch(session: Session, batch_id: str, errors: Sequence[Json]) -> None:
    """End a batch whose input is wrong; nothing of it ever runs."""
    values = {"failed_at": CLOCK, "errors": {"object": "list", "data": list(errors)}}
    session.execute(update(Batch).where(Batch.id == batch_id, *IS_VALIDATING).values(**values))


def drop_batch(session: Session, batch_id: str) -> None:
    """Forget a batch that could not be made after all, and release its idempotency key for another try."""
    gone = (Batch.id, Batch.tenant_id, Batch.idempotency_key)
    row = session.execute(delete(Batch).where(Batch.id == batch_id, *IS_VALIDATING).returning(*gone)).one_or_none()
    if row is not None:
        _release_key(session, *row)


def give_up(session: Session, *, limit: int) -> None:
    """Refuse up to `limit` batches whose check was never finished; their keys are free for another try."""
    errors = json.dumps({"object": "list", "data": [INTERRUPTED]})
    for row in session.execute(GIVE_UP, {"errors": errors, "unleased_s": UNLEASED_S, "limit": limit}).all():
        _release_key(session, *row)


def cancel_batch(session: Session, tenant_id: str, batch_id: str) -> None:
    """Call a batch off; what has been answered is kept. Asking again before it has ended changes nothing.

    Raises:
        BatchNotFound: the tenant has no such batch.
        BatchEnded: there is nothing left to cancel.
    """
    query = select(Batch).where(Batch.id == batch_id, Batch.tenant_id == tenant_id).with_for_update()
    batch = session.scalar(query, execution_options={"populate_existing": True})
    if batch is None:
        raise BatchNotFound(batch_id)
    view = _views(session, tenant_id, [batch])[0]
    if view.status in (BatchStatus.FAILED, *ENDED.values()):
        raise BatchEnded(batch_id, view.status.value)
    if view.status is BatchStatus.VALIDATING:
        session.execute(update(Batch).where(Batch.id == batch_id).values(cancelled_at=CLOCK))
    elif view.job is not None:
        _cancel_job(session, batch, view.job.id)


def get_batch(session: Session, tenant_id: str, batch_id: str) -> BatchView:
    """One batch. Raises BatchNotFound."""
    query = select(Batch).where(Batch.id == batch_id, Batch.tenant_id == tenant_id)
    batch = session.scalar(query, execution_options={"populate_existing": True})
    if batch is None:
        raise BatchNotFound(batch_id)
    return _views(session, tenant_id, [batch])[0]


def list_batches(session: Session, tenant_id: str, *, after: str | None = None, limit: int = 20) -> Page[BatchView]:
    """The tenant's batches, newest first, from the one after id `after`."""
    query = select(Batch).where(Batch.tenant_id == tenant_id).order_by(Batch.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(Batch.id < after)
    page = page_of(session.scalars(query).all(), limit)
    return Page(tuple(_views(session, tenant_id, page.data)), page.has_more)


def endpoint_of(session: Session, job_id: str) -> str | None:
    """Which route the requests of a batch's job were meant for; None for a job that belongs to no batch."""
    return session.scalar(select(Batch.endpoint).where(Batch.job_id == job_id))


def _cancel_job(session: Session, batch: Batch, job_id: str) -> None:
    """Cancel the batch's job. Raises BatchEnded where that ended while its lock was waited for."""
    try:
        cancel(session, batch.tenant_id, job_id)
    except Conflict as error:
        (view,) = _views(session, batch.tenant_id, [batch])
        raise BatchEnded(batch.id, view.status.value) from error


def _release_key(session: Session, batch_id: str, tenant_id: str, key: str | None) -> None:
    if key is not None:
        release(session, tenant_id, key, batch_id)


def _views(session: Session, tenant_id: str, batches: Sequence[Batch]) -> list[BatchView]:
    jobs = get_jobs(session, tenant_id, [batch.job_id for batch in batches if batch.job_id is not None])
    return [_dated(session, _view(batch, jobs.get(batch.job_id or ""))) for batch in batches]


def _dated(session: Session, view: BatchView) -> BatchView:
    """With the end of its last item, of a batch that is about to end: no other's items are looked through."""
    if view.job is None or view.status is not BatchStatus.FINALIZING:
        return view
    return replace(view, finalizing_at=session.scalar(LAST_ENDED, {"job_id": view.job.id}))


def _view(batch: Batch, job: JobView | None) -> BatchView:
    read = ("metadata", "finalizing_at", "job")
    kept = {name: getattr(batch, name) for name in BatchView.__slots__ if name not in read}
    return BatchView(**kept, metadata=batch.labels, finalizing_at=job.finished_at if job else None, job=job)
