"""Sharing: the lead of a search and its helpers, each of them a shard of its job.

Shard 0 leads. The others help while somebody leads; which claims of theirs still count is told by their leases.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.fleet import LIVE_S
from models.shard import ShardRef
from models.states import TERMINAL_ITEM, ItemStatus

Json = dict[str, Any]

LEAD: Final = 0  # the number of the shard, and index of the item, that leads


@dataclass(frozen=True, slots=True)
class LeadView:
    """The lead of a search. `is_held`: a worker has it, whose lease is good; `error` is its item's, if that failed."""

    status: ItemStatus
    is_held: bool
    error: Json | None

    @property
    def is_over(self) -> bool:
        return self.status in TERMINAL_ITEM


IS_HELD: Final = "shards.status = 'running' AND shards.lease_expires_at > statement_timestamp()"

HELD: Final = text(f"""
SELECT EXISTS (
    SELECT FROM shards WHERE job_id = :job_id AND number = :number AND epoch = :epoch AND {IS_HELD}
)
""")

FIND_LEAD: Final = text(f"""
SELECT items.status, items.error, {IS_HELD} AS is_held
FROM items JOIN shards ON shards.job_id = items.job_id AND shards.number = items.shard_number
WHERE items.job_id = :job_id AND items.index = {LEAD}
""")

WAITING: Final = text(f"""
SELECT number FROM shards WHERE job_id = :job_id AND number <> {LEAD} AND status = 'queued' ORDER BY number
""")


# At the next sweep, not at once: whoever is free may be busy with other work, and doorbells would go round and round.
PASS_ON: Final = text("""
UPDATE shards SET rung_at = NULL FROM searches
WHERE shards.job_id = :job_id AND shards.number = :number AND shards.status = 'queued'
  AND searches.job_id = shards.job_id AND EXISTS (
    SELECT FROM workers
    WHERE workers.model = searches.model AND workers.device_kind = searches.device_kind AND workers.status = 'ready'
      AND workers.last_seen_at > statement_timestamp() - make_interval(secs => :live_s) AND NOT EXISTS (
        SELECT FROM shards AS held
        WHERE held.job_id = :job_id AND held.status = 'running' AND held.worker_id = workers.id
    )
)
""")


def pass_on(session: Session, ref: ShardRef) -> None:
    """Have a shard rung again soon whose doorbell came to a worker that has another, if a worker has none."""
    session.execute(PASS_ON, {"job_id": ref.job_id, "number": ref.number, "live_s": LIVE_S})


def is_held(session: Session, ref: ShardRef, epoch: int) -> bool:
    """Whether whoever claimed a shard at `epoch` has it still, and is heard of."""
    values = {"job_id": ref.job_id, "number": ref.number, "epoch": epoch}
    return bool(session.execute(HELD, values).scalar_one())


def find_lead(session: Session, job_id: str) -> LeadView:
    """The lead of a search that is open."""
    row = session.execute(FIND_LEAD, {"job_id": job_id}).one()
    return LeadView(ItemStatus(row.status), row.is_held, row.error)


def waiting_helpers(session: Session, job_id: str) -> list[int]:
    """The shards of helpers that nobody has."""
    return list(session.execute(WAITING, {"job_id": job_id}).scalars())
