"""Reading jobs, always in the name of a tenant: another tenant's job does not exist. And deleting them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from models.errors import Conflict, JobNotFound
from models.fleet import LIVE_S
from models.notify import notify
from models.page import Page, page_of
from models.retention import IS_KEPT
from models.states import TERMINAL_JOB, JobKind, JobStatus, Lane
from models.tables import Job
from models.tally import Counts, DecodingStats, Tally, Usage, count

Json = dict[str, Any]

MAX_AHEAD: Final = 1000  # shards counted of each tenant; a longer queue is told as this long


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as its owner sees it.

    `decoding` is what was asked for, `decoding_stats` what was measured. `queue_ahead` counts items of other jobs that
    wait in the same queue and are older (of each tenant at most those of `MAX_AHEAD` shards); `queue_workers` the live
    workers of the model. Both are 0 for a job that has ended.
    """

    id: str
    tenant_id: str
    kind: JobKind
    model: str
    lane: Lane
    status: JobStatus
    parameters: Json
    decoding: Json
    options: Json
    metadata: Json
    counts: Counts
    usage: Usage
    decoding_stats: DecodingStats
    queue_ahead: int
    queue_workers: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    cancel_requested_at: datetime | None
    error: Json | None
    delete_at: datetime | None
    webhook_url: str | None
    retry_of: str | None


@dataclass(frozen=True, slots=True)
class _Queue:
    ahead: int = 0
    workers: int = 0


# Tenant by tenant, as the index is ordered: a backlog of younger shards is never read.
QUEUES: Final = text("""
SELECT jobs.id,
    (SELECT coalesce(sum(older.num), 0) FROM tenants CROSS JOIN LATERAL (
        SELECT last - first + 1 AS num FROM shards
        WHERE model = jobs.model AND lane = jobs.lane AND status = 'queued' AND tenant_id = tenants.id
          AND created_at < jobs.created_at
        ORDER BY created_at LIMIT :max_ahead
    ) AS older) AS ahead,
    (SELECT count(*) FROM workers
     WHERE model = jobs.model AND last_seen_at > statement_timestamp() - make_interval(secs => :live_s)) AS workers
FROM jobs WHERE id = ANY(CAST(:job_ids AS text[]))
""")


def get_job(session: Session, tenant_id: str, job_id: str) -> JobView:
    """One job, counted now. Raises JobNotFound."""
    return _views(session, [find(session, tenant_id, job_id)])[0]


def get_jobs(session: Session, tenant_id: str, job_ids: Sequence[str]) -> dict[str, JobView]:
    """Those of the jobs that the tenant has, by id."""
    query = select(Job).where(Job.id.in_(job_ids), Job.tenant_id == tenant_id)
    jobs = session.scalars(query, execution_options={"populate_existing": True}).all()
    return {view.id: view for view in _views(session, jobs)}


def is_over(session: Session, job_id: str) -> bool:
    """Whether the job has ended; one that does not exist has."""
    status = session.scalar(select(Job.status).where(Job.id == job_id))
    return status is None or status in TERMINAL_JOB


def list_jobs(
    session: Session,
    tenant_id: str,
    *,
    after: str | None = None,
    limit: int = 20,
    status: JobStatus | None = None,
    kind: JobKind | None = None,
    model: str | None = None,
) -> Page[JobView]:
    """The tenant's jobs, newest first, from the one after id `after`."""
    query = select(Job).where(Job.tenant_id == tenant_id, text(IS_KEPT)).order_by(Job.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(Job.id < after)
    for column, wanted in ((Job.status, status), (Job.kind, kind), (Job.model, model)):
        if wanted is not None:
            query = query.where(column == wanted)
    page = page_of(session.scalars(query).all(), limit)
    return Page(tuple(_views(session, page.data)), page.has_more)


def delete_job(session: Session, tenant_id: str, job_id: str) -> None:
    """Erase a job with its inputs and outputs.

    Raises:
        JobNotFound: the tenant has no such job.
        Conflict: it has not ended; cancel it first.
    """
    job = find(session, tenant_id, job_id)
    if job.status not in TERMINAL_JOB:
        raise Conflict(f"job {job_id} is {job.status.value}: cancel it before deleting it")
    session.execute(delete(Job).where(Job.id == job_id))
    notify(session, job_id)


def find(session: Session, tenant_id: str, job_id: str) -> Job:
    """The row of a job. Raises JobNotFound."""
    # populate_existing: a session that looks twice must not be shown its first look
    query = select(Job).where(Job.id == job_id, Job.tenant_id == tenant_id, text(IS_KEPT))
    job = session.scalar(query, execution_options={"populate_existing": True})
    if job is None:
        raise JobNotFound(job_id)
    return job


def _views(session: Session, jobs: Sequence[Job]) -> list[JobView]:
    """Counted from items and asked about their queue if open, as stored if ended."""
    open_ids = [job.id for job in jobs if job.status not in TERMINAL_JOB]
    tallies = count(session, open_ids) if open_ids else {}
    queues = _queues(session, open_ids) if open_ids else {}
    return [_view(job, tallies.get(job.id) or _stored(job), queues.get(job.id, _Queue())) for job in jobs]


def _stored(job: Job) -> Tally:
    return Tally.stored(job.counts or {}, job.usage or {}, job.decoding_stats or {})


def _queues(session: Session, job_ids: Sequence[str]) -> dict[str, _Queue]:
    values = {"job_ids": list(job_ids), "live_s": LIVE_S, "max_ahead": MAX_AHEAD}
    return {row.id: _Queue(int(row.ahead), row.workers) for row in session.execute(QUEUES, values)}


def _view(job: Job, tally: Tally, queue: _Queue) -> JobView:
    return JobView(
        id=job.id,
        tenant_id=job.tenant_id,
        kind=job.kind,
        model=job.model,
        lane=job.lane,
        status=job.status,
        parameters=job.parameters,
        decoding=job.decoding,
        options=job.options,
        metadata=job.labels,
        counts=tally.counts,
        usage=tally.usage,
        decoding_stats=tally.decoding,
        queue_ahead=queue.ahead,
        queue_workers=queue.workers,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        expires_at=job.expires_at,
        cancel_requested_at=job.cancel_requested_at,
        error=job.error,
        delete_at=job.delete_at,
        webhook_url=job.webhook_url,
        retry_of=job.retry_of,
    )
