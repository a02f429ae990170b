"""Quotas: how much unfinished work a tenant may have, checked in the transaction that adds some."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.errors import QuotaExceeded

# The tenant's row is locked, so that two submits cannot both take the last of a quota.
LOCK: Final = text("""
SELECT max_open_jobs AS jobs, max_open_items AS items, max_queued_tokens AS tokens FROM tenants
WHERE id = :tenant_id AND num_nonnulls(max_open_jobs, max_open_items, max_queued_tokens) > 0
FOR NO KEY UPDATE
""")

# Tokens are those that the open items may still write: nobody has counted their prompts yet. Where they may write
# unequally much the job says how much on average; all of them together count exactly.
OPEN: Final = text("""
SELECT count(DISTINCT jobs.id) AS jobs, coalesce(sum(num), 0) AS items,
    coalesce(sum(round(num * coalesce(
        (options ->> 'mean_tokens')::numeric,
        (parameters ->> 'max_tokens')::bigint * coalesce((parameters ->> 'n')::int, 1)
    ))), 0) AS tokens
FROM jobs CROSS JOIN LATERAL (
    SELECT sum(last - first + 1) AS num FROM shards WHERE job_id = jobs.id AND status IN ('queued', 'running')
) AS open
WHERE tenant_id = :tenant_id AND status IN ('queued', 'running')
""")

NOUNS: Final = {
    "jobs": "unfinished jobs",
    "items": "unfinished items",
    "tokens": "tokens of output that unfinished items may have",
}


def check_quota(session: Session, tenant_id: str) -> None:
    """Make sure that the tenant has no more than it may, with what this transaction adds.

    Raises:
        QuotaExceeded: the transaction has to be rolled back.
    """
    limits = session.execute(LOCK, {"tenant_id": tenant_id}).one_or_none()
    if limits is None:
        return
    found = session.execute(OPEN, {"tenant_id": tenant_id}).one()
    for name, noun in NOUNS.items():
        limit = getattr(limits, name)
        if limit is not None and getattr(found, name) > limit:
            raise QuotaExceeded(limit, noun)
