"""Claim: one worker becomes the holder of a shard, under a new epoch and a lease.

Items found `running` were in an engine that died: they are suspects, to be run alone, and have failed after so many
losses.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.faults import Point, reach
from models.notify import Change, notify
from models.states import ItemStatus, JobKind, JobStatus, Lane

Json = dict[str, Any]

MAX_LOSSES: Final = 3


@dataclass(frozen=True, slots=True)
class ClaimedItem:
    """An item that is still to be done. `suspect`: an engine died while it held the item, so run it alone."""

    index: int
    custom_id: str | None
    input: Json
    attempts: int
    suspect: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker needs to do a shard, and the epoch under which it may write. `items` may be empty: finish it."""

    job_id: str
    number: int
    epoch: int
    tenant_id: str
    kind: JobKind
    model: str
    lane: Lane
    parameters: Json
    decoding: Json
    options: Json
    items: tuple[ClaimedItem, ...]
    expires_at: datetime | None
    origin: Json = field(default_factory=dict)  # ids of the request that made the job
    num_lost: int = 0  # items that failed with this claim, for having lost too many engines
    is_takeover: bool = False  # from a holder whose lease had run out


# Nothing is claimed of a job that is to be cancelled or past its deadline: the sweep ends it.
JOB: Final = """
SELECT id, tenant_id, kind, model, lane, status, parameters, decoding, options, expires_at, origin
FROM jobs
WHERE id = :job_id AND status IN ('queued', 'running') AND cancel_requested_at IS NULL
  AND (expires_at IS NULL OR expires_at > statement_timestamp())
"""
FIND_JOB: Final = text(JOB)
LOCK_JOB: Final = text(f"{JOB} FOR NO KEY UPDATE")  # only the first claim changes the job, so only it waits

TAKE_SHARD: Final = text("""
WITH free AS (
    SELECT job_id, number, status FROM shards
    WHERE job_id = :job_id AND number = :number
      AND (status = 'queued' OR (status = 'running' AND lease_expires_at < statement_timestamp()))
    FOR NO KEY UPDATE
)
UPDATE shards
SET status = 'running', epoch = epoch + 1, worker_id = :worker_id, rung_at = NULL,
    lease_expires_at = statement_timestamp() + make_interval(secs => :lease_s)
FROM free WHERE shards.job_id = free.job_id AND shards.number = free.number
RETURNING epoch, first, last, free.status = 'running' AS is_takeover
""")

START_JOB: Final = text("""
UPDATE jobs SET status = 'running', started_at = statement_timestamp() WHERE id = :job_id AND status = 'queued'
""")

# What the last holder left in its engine: back to the queue, or failed when that was one loss too many.
SORT_SUSPECTS: Final = text("""
UPDATE items
SET status = CASE WHEN attempts >= :max_losses THEN 'failed' ELSE 'queued' END,
    finished_at = CASE WHEN attempts >= :max_losses THEN statement_timestamp() END,
    error = CASE WHEN attempts >= :max_losses THEN jsonb_build_object(
        'code', 'worker_lost',
        'message', 'the engine was lost ' || attempts || ' times while it worked on this item, at last on it alone'
    ) END
WHERE job_id = :job_id AND index BETWEEN :first AND :last AND status = 'running'
RETURNING status
""")

OPEN_ITEMS: Final = text("""
SELECT index, custom_id, input, attempts, attempts > 0 AS suspect FROM items
WHERE job_id = :job_id AND index BETWEEN :first AND :last AND status = 'queued'
ORDER BY index
""")


def claim(
    session: Session, job_id: str, number: int, worker_id: str, *, lease_s: float, max_losses: int = MAX_LOSSES
) -> Claim | None:
    """Take a shard that is queued or whose lease is over; None when there is nothing to take.

    `lease_s` seconds from now the shard may be taken by others unless a heartbeat renews the lease. An item that was
    lost `max_losses` times has failed.
    """
    job = session.execute(FIND_JOB, {"job_id": job_id}).one_or_none()
    if job is not None and job.status == JobStatus.QUEUED:
        job = session.execute(LOCK_JOB, {"job_id": job_id}).one_or_none()
    if job is None:
        return None
    taking = {"job_id": job_id, "number": number, "worker_id": worker_id, "lease_s": lease_s}
    shard = session.execute(TAKE_SHARD, taking).one_or_none()
    if shard is None:
        return None
    reach(Point.CLAIM_SHARD)
    is_first = job.status == JobStatus.QUEUED
    if is_first:
        session.execute(START_JOB, {"job_id": job_id})
    num_lost, items = _open_items(session, job_id, shard.first, shard.last, max_losses)
    notify(session, job_id, Change.PLAIN if is_first else Change.PROGRESS)
    reach(Point.CLAIM_WRITTEN)
    return Claim(
        job_id=job_id,
        number=number,
        epoch=shard.epoch,
        tenant_id=job.tenant_id,
        kind=JobKind(job.kind),
        model=job.model,
        lane=Lane(job.lane),
        parameters=job.parameters,
        decoding=job.decoding,
        options=job.options,
        items=items,
        expires_at=job.expires_at,
        origin=job.origin or {},
        num_lost=num_lost,
        is_takeover=shard.is_takeover,
    )


def _open_items(
    session: Session, job_id: str, first: int, last: int, max_losses: int
) -> tuple[int, tuple[ClaimedItem, ...]]:
    """How many items have failed just now, and those that are to be done."""
    extent = {"job_id": job_id, "first": first, "last": last}
    sorted_out = session.execute(SORT_SUSPECTS, extent | {"max_losses": max_losses}).scalars()
    num_lost = sum(status == ItemStatus.FAILED for status in sorted_out)
    return num_lost, tuple(ClaimedItem(*row) for row in session.execute(OPEN_ITEMS, extent))
