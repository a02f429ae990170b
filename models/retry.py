"""Retry: a new job of what a job did not bring. The old job stays what it was; its rows are copied as they lie.

An item keeps its place in the old job, which keys its noise: it says what it would have said there.
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.errors import Conflict, JobNotFound
from models.idempotency import take
from models.ids import new_id
from models.notify import notify
from models.quota import check_quota
from models.retention import IS_KEPT
from models.states import TERMINAL_ITEM, TERMINAL_JOB, ItemStatus
from models.submit import INSERT_SHARDS, SHARD_ITEMS, Submitted

# Whatever kept an item from its result: whoever tries a job again wants the rest of it.
LOST: Final = tuple(sorted(TERMINAL_ITEM - {ItemStatus.SUCCEEDED}))

FIND: Final = text(f"""
SELECT status FROM jobs WHERE id = :old_id AND tenant_id = :tenant_id AND {IS_KEPT} FOR KEY SHARE
""")

COPY_JOB: Final = text("""
INSERT INTO jobs (id, tenant_id, kind, model, lane, parameters, decoding, options, metadata, num_items, webhook_url,
                  retry_of, keep_s, expires_at)
SELECT :job_id, tenant_id, kind, model, lane, parameters, decoding, options, metadata, 0, webhook_url,
       id, keep_s, statement_timestamp() + (expires_at - created_at)
FROM jobs WHERE id = :old_id
""")

COPY_ITEMS: Final = text("""
INSERT INTO items (job_id, index, shard_number, custom_id, input)
SELECT :job_id, number, number / :size, custom_id,
       input || jsonb_build_object('place', coalesce(input -> 'place', place))
FROM (
    SELECT (row_number() OVER (ORDER BY index) - 1)::int AS number, custom_id, input, to_jsonb(index) AS place
    FROM items WHERE job_id = :old_id AND status = ANY(CAST(:statuses AS text[]))
) AS lost
""")


def retry(
    session: Session,
    tenant_id: str,
    old_id: str,
    *,
    statuses: Collection[ItemStatus] = LOST,
    key: str | None = None,
    fingerprint: str = "",
) -> Submitted:
    """Make a job of an ended job's items of these statuses; its deadline is as long as the first one was.

    Raises:
        JobNotFound: the tenant has no such job.
        Conflict: it has not ended, or has nothing to try again.
        QuotaExceeded, IdempotencyMismatch: as for a submit.
    """
    job_id = new_id("job")
    if key is not None:
        first_id = take(session, tenant_id, key, fingerprint, job_id)
        if first_id != job_id:
            return Submitted(first_id, created=False)
    status = session.execute(FIND, {"old_id": old_id, "tenant_id": tenant_id}).scalar()
    if status is None:
        raise JobNotFound(old_id)
    if status not in TERMINAL_JOB:
        raise Conflict(f"job {old_id} is {status}: only one that has ended can be tried again")
    session.execute(COPY_JOB, {"job_id": job_id, "old_id": old_id})
    which = {"old_id": old_id, "statuses": list(statuses)}
    copied = session.execute(COPY_ITEMS, {"job_id": job_id, "size": SHARD_ITEMS, **which})
    num_items = int(getattr(copied, "rowcount"))  # noqa: B009 - known to the cursor's result only
    if num_items == 0:
        raise Conflict(f"job {old_id} has no item that is {' or '.join(statuses)}")
    session.execute(INSERT_SHARDS, {"job_id": job_id, "num_items": num_items, "size": SHARD_ITEMS})
    check_quota(session, tenant_id)
    notify(session, job_id)
    return Submitted(job_id, created=True)
