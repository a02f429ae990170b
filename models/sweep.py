"""Sweep: the recovery path. Whatever was lost, a message, a worker or a finish, is found here within seconds.

One sweep runs at a time. It waits for no row: what is locked is in somebody's hands and is seen the next time.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from models.audit import forget_audit
from models.batches import give_up
from models.deliveries import is_delivery_due
from models.ending import end_job, withdraw
from models.faults import Point, reach
from models.fleet import forget_workers
from models.idempotency import forget
from models.keys import forget_keys
from models.notify import notify
from models.ring import waiting_queues
from models.states import ItemStatus, Lane


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did: shards requeued, jobs ended, deadlines enforced; and what is to be rung: queues, webhooks."""

    requeued: int = 0
    ended: int = 0
    expired: int = 0
    queues: tuple[tuple[str, Lane], ...] = ()
    has_webhooks: bool = False


TRY_LOCK: Final = text("SELECT pg_try_advisory_xact_lock(hashtextextended('skim sweep', 7))")

# Items stay `running`: the next claim finds them and treats them as suspects.
REQUEUE: Final = text("""
WITH over AS (
    SELECT job_id, number FROM shards
    WHERE status = 'running' AND lease_expires_at < statement_timestamp()
    ORDER BY lease_expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE shards
SET status = 'queued', epoch = epoch + 1, lease_expires_at = NULL, rung_at = NULL, worker_id = NULL
FROM over WHERE shards.job_id = over.job_id AND shards.number = over.number
RETURNING shards.job_id
""")

# Jobs to be stopped that have shards nobody holds (released or requeued since), or no open shard at all.
IS_STUCK: Final = """(
    EXISTS (SELECT FROM shards WHERE job_id = jobs.id AND status = 'queued')
    OR NOT EXISTS (SELECT FROM shards WHERE job_id = jobs.id AND status IN ('queued', 'running'))
)"""

CANCELLING: Final = text(f"""
SELECT id FROM jobs
WHERE status IN ('queued', 'running') AND cancel_requested_at IS NOT NULL AND {IS_STUCK}
ORDER BY id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
""")

OVERDUE: Final = text(f"""
SELECT id FROM jobs
WHERE status IN ('queued', 'running') AND expires_at <= statement_timestamp() AND {IS_STUCK}
ORDER BY expires_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
""")

# The finish test once more. A queued job has shards by construction, so only running ones can be forgotten.
DONE: Final = text("""
SELECT id FROM jobs
WHERE status = 'running'
  AND NOT EXISTS (SELECT FROM shards WHERE job_id = jobs.id AND status IN ('queued', 'running'))
ORDER BY id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
""")


def sweep(session: Session, *, limit: int = 200) -> Swept:
    """Repair up to `limit` rows of each kind; does nothing while another sweep runs."""
    if not session.execute(TRY_LOCK).scalar_one():
        return Swept()
    requeued = _requeue(session, limit)
    cancelled = _stop(session, CANCELLING, ItemStatus.CANCELLED, limit)
    expired = _stop(session, OVERDUE, ItemStatus.EXPIRED, limit)
    done = [end_job(session, job_id) for job_id in _locked(session, DONE, limit)]
    forget(session, limit=limit)
    forget_audit(session, limit=limit)
    forget_keys(session, limit=limit)
    give_up(session, limit=limit)
    forget_workers(session)
    return Swept(
        requeued=requeued,
        ended=sum(cancelled) + sum(expired) + sum(done),
        expired=len(expired),
        queues=tuple(waiting_queues(session)),
        has_webhooks=is_delivery_due(session),
    )


def _requeue(session: Session, limit: int) -> int:
    job_ids = session.execute(REQUEUE, {"limit": limit}).scalars().all()
    for job_id in sorted(set(job_ids)):
        notify(session, job_id)
    if job_ids:
        reach(Point.SWEEP_REQUEUED)
    return len(job_ids)


def _stop(session: Session, which: TextClause, status: ItemStatus, limit: int) -> list[bool]:
    """Withdraw what nobody holds of the jobs found; for each, whether it ended with that."""
    ended = []
    for job_id in _locked(session, which, limit):
        withdraw(session, job_id, status)
        ended.append(end_job(session, job_id))
    return ended


def _locked(session: Session, which: TextClause, limit: int) -> list[str]:
    return list(session.execute(which, {"limit": limit}).scalars())
