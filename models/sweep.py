"""Sweep: the recovery path. Whatever was lost, a message, a worker or a finish, is found here within seconds.

One sweep runs at a time, in short transactions of a bounded number of rows: what was given back to the queues is there
at once, and a sweep that dies has lost little. It waits for no row: what is locked is in somebody's hands and is seen
the next time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from models.audit import forget_audit
from models.batches import give_up
from models.copying import COPY_S
from models.database import Database
from models.deliveries import is_delivery_due
from models.ending import end_job, withdraw
from models.faults import Point, reach
from models.fleet import forget_workers
from models.idempotency import forget
from models.keys import forget_keys
from models.notify import notify
from models.ring import waiting_queues
from models.states import ItemStatus, Lane

T = TypeVar("T")

ITEMS: Final = 5_000  # of each kind that a transaction ends, unless one job alone has more
STOP_S: Final = 1.0  # of a sweep's time, for ending what was cancelled or is overdue


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did: shards requeued, jobs ended, deadlines enforced; and what is to be rung: queues, webhooks.

    `is_whole` is False where another sweep was at it and does the rest.
    """

    is_whole: bool = True
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

# As many as have `items` items together. What has ended by the time that its row is locked is left alone.
STOP: Final = """
SELECT id FROM jobs
WHERE status IN ('queued', 'running') AND id IN (
    SELECT id FROM (
        SELECT id, sum(num_items) OVER (ORDER BY {age}, id) - num_items AS num_before FROM (
            SELECT * FROM jobs WHERE status IN ('queued', 'running') AND {which} AND {is_stuck}
            ORDER BY {age}, id LIMIT :limit
        ) AS found
    ) AS counted
    WHERE num_before < :items
)
ORDER BY {age}, id FOR NO KEY UPDATE SKIP LOCKED
"""

CANCELLING: Final = text(STOP.format(age="id", which="cancel_requested_at IS NOT NULL", is_stuck=IS_STUCK))
OVERDUE: Final = text(STOP.format(age="expires_at", which="expires_at <= statement_timestamp()", is_stuck=IS_STUCK))

# The finish test once more. A queued job has shards by construction, so only running ones can be forgotten.
DONE: Final = text("""
SELECT id FROM jobs
WHERE status = 'running'
  AND NOT EXISTS (SELECT FROM shards WHERE job_id = jobs.id AND status IN ('queued', 'running'))
ORDER BY id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
""")


# A process frozen within a COPY: no limit of the server's ends the wait for what it sends. A COPY that has waited for
# that when its time is over would be ended with the next it says.
CUT_OFF: Final = text("""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name LIKE 'skim-%'
  AND state = 'active' AND wait_event = 'ClientRead' AND query LIKE 'COPY %'
  AND query_start < statement_timestamp() - make_interval(secs => :copy_s)
""")


def sweep(database: Database, *, limit: int = 200, items: int = ITEMS, for_s: float = STOP_S) -> Swept:
    """Repair up to `limit` rows of each kind. Jobs are stopped while there is time, `items` items to a transaction."""
    requeued = _alone(database, partial(_requeue, limit=limit))
    if requeued is None:
        return Swept(is_whole=False)
    ended, expired = _stop(database, limit, items, for_s)
    rest = _alone(database, partial(_tidy, limit=limit))
    if rest is None:
        return Swept(is_whole=False, requeued=requeued, ended=ended, expired=expired)
    return replace(rest, requeued=requeued, ended=ended + rest.ended, expired=expired)


def _alone(database: Database, step: Callable[[Session], T]) -> T | None:
    """Do a step in a transaction of its own; None, and nothing done, while another sweep runs."""
    with database.session() as session:
        return step(session) if session.execute(TRY_LOCK).scalar_one() else None


def _requeue(session: Session, *, limit: int) -> int:
    job_ids = session.execute(REQUEUE, {"limit": limit}).scalars().all()
    for job_id in sorted(set(job_ids)):
        notify(session, job_id)
    if job_ids:
        reach(Point.SWEEP_REQUEUED)
    return len(job_ids)


def _stop(database: Database, limit: int, items: int, for_s: float) -> tuple[int, int]:
    """Stop what was cancelled and what is overdue, some of each at a time; how many have ended, and were overdue."""
    until = time.monotonic() + for_s
    ended, expired, is_left = 0, 0, True
    while is_left:
        cancelled, overdue = _alone(database, partial(_stop_some, limit=limit, items=items)) or ([], [])
        ended += sum(cancelled) + sum(overdue)
        expired += len(overdue)
        is_left = bool(cancelled or overdue) and time.monotonic() < until
    return ended, expired


def _stop_some(session: Session, *, limit: int, items: int) -> tuple[list[bool], list[bool]]:
    """Withdraw what nobody holds of some jobs to be cancelled and some overdue ones; for each, whether it has ended."""
    values = {"limit": limit, "items": items}
    return _end(session, CANCELLING, values, ItemStatus.CANCELLED), _end(session, OVERDUE, values, ItemStatus.EXPIRED)


def _end(session: Session, which: TextClause, values: dict[str, int], status: ItemStatus) -> list[bool]:
    ended = []
    for job_id in session.execute(which, values).scalars().all():
        withdraw(session, job_id, status)
        ended.append(end_job(session, job_id))
    return ended


def _tidy(session: Session, *, limit: int) -> Swept:
    """End what was done and not ended, forget what is past its date, cut off who is frozen; see what is to be rung."""
    done = [end_job(session, job_id) for job_id in session.execute(DONE, {"limit": limit}).scalars().all()]
    forget(session, limit=limit)
    forget_audit(session, limit=limit)
    forget_keys(session, limit=limit)
    give_up(session, limit=limit)
    forget_workers(session)
    session.execute(CUT_OFF, {"copy_s": COPY_S})
    queues, has_webhooks = tuple(waiting_queues(session)), is_delivery_due(session)
    return Swept(ended=sum(done), queues=queues, has_webhooks=has_webhooks)
