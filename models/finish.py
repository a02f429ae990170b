"""Finish and release: the two ways in which a holder gives a shard up."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.ending import end_job
from models.errors import LeaseLost
from models.faults import Point, reach
from models.notify import Change, notify
from models.shard import ShardRef
from models.states import TERMINAL_JOB, TERMINAL_SHARD, ShardStatus
from models.tally import SHARD_TALLY

LOCK_JOB: Final = text("SELECT status FROM jobs WHERE id = :job_id FOR NO KEY UPDATE")

# Waits for a result on its way (it holds the row FOR SHARE); what comes after sees it.
LOCK_SHARD: Final = text("""
SELECT epoch, status FROM shards WHERE job_id = :job_id AND number = :number FOR NO KEY UPDATE
""")

END_SHARD: Final = text(f"""
UPDATE shards SET status = 'finished', lease_expires_at = NULL, tally = {SHARD_TALLY}
WHERE job_id = :job_id AND number = :number AND NOT EXISTS (
    SELECT FROM items WHERE items.job_id = shards.job_id AND items.index BETWEEN shards.first AND shards.last
      AND items.status IN ('queued', 'running')
)
RETURNING number
""")

RELEASE: Final = text("""
UPDATE shards
SET status = 'queued', epoch = epoch + 1, lease_expires_at = NULL, rung_at = NULL, worker_id = NULL
WHERE job_id = :job_id AND number = :number AND epoch = :epoch AND status = 'running'
RETURNING first, last
""")

GIVE_BACK: Final = text("""
UPDATE items SET status = 'queued', attempts = attempts - 1
WHERE job_id = :job_id AND index BETWEEN :first AND :last AND status = 'running'
""")


def finish(session: Session, ref: ShardRef, epoch: int) -> bool:
    """End the shard if none of its items is open, and the job if this was its last; True when the job has ended.

    Safe to repeat. False with the shard left as it is when items are still open.

    Raises:
        LeaseLost: the shard is open and not held at `epoch` any more.
    """
    place = {"job_id": ref.job_id, "number": ref.number}
    job_status = session.execute(LOCK_JOB, place).scalar()
    shard = session.execute(LOCK_SHARD, place).one_or_none()
    if shard is not None and shard.status in TERMINAL_SHARD:
        return job_status in TERMINAL_JOB
    if shard is None or shard.epoch != epoch or shard.status != ShardStatus.RUNNING:
        raise LeaseLost(ref.job_id, ref.number, epoch)
    if session.execute(END_SHARD, place).first() is None:
        return False
    reach(Point.FINISH_SHARD)
    notify(session, ref.job_id, Change.PROGRESS)
    return end_job(session, ref.job_id)


def release(session: Session, ref: ShardRef, epoch: int, *, lost: bool) -> None:
    """Give the shard back to the queue under the next epoch.

    `lost` says that the engine died: what it had admitted stays `running` and the next claim treats it as suspect.
    Otherwise nobody is to blame, and admitted items get their attempt back.

    Raises:
        LeaseLost: the shard is not held at `epoch` any more.
    """
    held = {"job_id": ref.job_id, "number": ref.number, "epoch": epoch}
    shard = session.execute(RELEASE, held).one_or_none()
    if shard is None:
        raise LeaseLost(ref.job_id, ref.number, epoch)
    if not lost:
        session.execute(GIVE_BACK, {"job_id": ref.job_id, "first": shard.first, "last": shard.last})
    notify(session, ref.job_id)
    reach(Point.RELEASE_WRITTEN)
