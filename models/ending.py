"""How jobs end: the rules that finish, cancel and sweep share. Every function here needs the job's row locked."""

import json
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.deliveries import open_delivery
from models.faults import Point, reach
from models.notify import Change, notify
from models.retention import KEEP_S
from models.states import ItemStatus, JobStatus
from models.tally import Counts, count

HAS_OPEN_SHARD: Final = text("""
SELECT EXISTS (SELECT FROM shards WHERE job_id = :job_id AND status IN ('queued', 'running'))
""")

END_JOB: Final = text("""
UPDATE jobs
SET status = :status, finished_at = statement_timestamp(),
    delete_at = statement_timestamp() + make_interval(secs => coalesce(
        keep_s, (SELECT keep_s FROM tenants WHERE id = jobs.tenant_id), :keep_s
    )), error = CAST(:error AS jsonb),
    counts = CAST(:counts AS jsonb), usage = CAST(:usage AS jsonb), decoding_stats = CAST(:decoding_stats AS jsonb)
WHERE id = :job_id
""")

# Only what nobody holds: the holders of the rest hear of it by their heartbeat and end their items themselves.
WITHDRAW: Final = text("""
WITH withdrawn AS (
    UPDATE shards SET status = :status, rung_at = NULL WHERE job_id = :job_id AND status = 'queued'
    RETURNING job_id, first, last
)
UPDATE items SET status = :status, finished_at = statement_timestamp() FROM withdrawn
WHERE items.job_id = withdrawn.job_id AND items.index BETWEEN withdrawn.first AND withdrawn.last
  AND items.status IN ('queued', 'running')
""")

ERRORS: Final = {
    JobStatus.FAILED: {"code": "all_items_failed", "message": "every item failed"},
    JobStatus.EXPIRED: {"code": "deadline_exceeded", "message": "the deadline passed before every item was done"},
}


def withdraw(session: Session, job_id: str, status: ItemStatus) -> None:
    """End the shards of a job that nobody holds, and their open items, as cancelled or expired."""
    session.execute(WITHDRAW, {"job_id": job_id, "status": status.value})
    notify(session, job_id)


def end_job(session: Session, job_id: str) -> bool:
    """End a job none of whose items is open, storing what they add up to; True when it ended.

    With the row locked two workers that end the last two shards look one after the other, so one of them sees no open
    shard; and a shard ends only when it has no open item.
    """
    if session.execute(HAS_OPEN_SHARD, {"job_id": job_id}).scalar_one():
        return False
    tally = count(session, [job_id])[job_id]
    if tally.counts.queued or tally.counts.running:
        return False
    status = verdict(tally.counts)
    columns = {name: json.dumps(value) for name, value in tally.columns().items()}
    error = json.dumps(ERRORS[status]) if status in ERRORS else None
    session.execute(END_JOB, {"job_id": job_id, "status": status.value, "keep_s": KEEP_S, "error": error, **columns})
    open_delivery(session, job_id)
    notify(session, job_id, Change.OVER)
    reach(Point.FINISH_WRITTEN)
    return True


def verdict(counts: Counts) -> JobStatus:
    """What a job is once all its items have ended. A cancellation that came too late for any item is none."""
    if counts.cancelled:
        return JobStatus.CANCELLED
    if counts.expired:
        return JobStatus.EXPIRED
    return JobStatus.FAILED if counts.failed == counts.total else JobStatus.SUCCEEDED
