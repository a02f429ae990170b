"""Heartbeat and flags: keep what a process holds, and hear what it must stop. One statement for all its shards."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

Held = tuple[str, int, int]  # job id, shard number, epoch
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Shards, as (job id, number), that must not go on: lost to others, of a cancelled or of an expired job.

    A process that holds a shard twice, once as a zombie, finds it both lost and in what its present holder must hear.
    """

    lost: frozenset[Key]
    cancelled: frozenset[Key]
    expired: frozenset[Key]


HELD: Final = """
held AS (
    SELECT * FROM unnest(CAST(:job_ids AS text[]), CAST(:numbers AS int[]), CAST(:epochs AS int[]))
        AS held(job_id, number, epoch)
)"""

SIGNALS: Final = """
SELECT held.job_id, held.number, kept.job_id IS NULL AS is_lost,
       coalesce(jobs.cancel_requested_at IS NOT NULL, FALSE) AS is_cancelled,
       coalesce(jobs.expires_at <= statement_timestamp(), FALSE) AS is_expired
FROM held LEFT JOIN kept USING (job_id, number, epoch) LEFT JOIN jobs ON jobs.id = held.job_id
"""

# A lease that ran out is renewed too, as long as nobody has taken the shard. Rows are locked in one order.
RENEW: Final = text(f"""
WITH {HELD},
locked AS (
    SELECT shards.job_id, shards.number, shards.epoch FROM shards JOIN held USING (job_id, number, epoch)
    WHERE shards.status = 'running' ORDER BY shards.job_id, shards.number FOR NO KEY UPDATE OF shards
),
kept AS (
    UPDATE shards SET lease_expires_at = statement_timestamp() + make_interval(secs => :lease_s) FROM locked
    WHERE shards.job_id = locked.job_id AND shards.number = locked.number
    RETURNING shards.job_id, shards.number, shards.epoch
)
{SIGNALS}""")

LOOK: Final = text(f"""
WITH {HELD},
kept AS (
    SELECT shards.job_id, shards.number, shards.epoch FROM shards JOIN held USING (job_id, number, epoch)
    WHERE shards.status = 'running'
)
{SIGNALS}""")


def heartbeat(session: Session, held: Sequence[Held], *, lease_s: float) -> Heartbeat:
    """Renew the leases of all `held` shards to `lease_s` seconds from now."""
    return _signals(session, RENEW, held, {"lease_s": lease_s})


def flags(session: Session, held: Sequence[Held]) -> Heartbeat:
    """The same news without renewing anything: read-only, cheap enough for twice a second."""
    return _signals(session, LOOK, held, {})


def _signals(session: Session, statement: TextClause, held: Sequence[Held], extra: dict[str, Any]) -> Heartbeat:
    if not held:
        return Heartbeat(frozenset(), frozenset(), frozenset())
    job_ids, numbers, epochs = (list(column) for column in zip(*held, strict=True))
    rows = session.execute(statement, {"job_ids": job_ids, "numbers": numbers, "epochs": epochs, **extra}).all()
    return Heartbeat(
        lost=frozenset((row.job_id, row.number) for row in rows if row.is_lost),
        cancelled=frozenset((row.job_id, row.number) for row in rows if row.is_cancelled and not row.is_lost),
        expired=frozenset(
            (row.job_id, row.number) for row in rows if row.is_expired and not row.is_cancelled and not row.is_lost
        ),
    )
