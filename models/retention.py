"""Retention: jobs that have ended are deleted with their items when their time is up."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

KEEP_S: Final = 30 * 24 * 3600  # unless the client says otherwise

# A retry outlives the job it was made of: the reference to that becomes null.
FORGET: Final = text("""
DELETE FROM jobs WHERE id IN (
    SELECT id FROM jobs WHERE delete_at <= statement_timestamp()
    ORDER BY delete_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")


def forget_jobs(session: Session, *, limit: int) -> int:
    """Delete up to `limit` jobs past their date; returns how many."""
    found = session.execute(FORGET, {"limit": limit})
    return int(getattr(found, "rowcount"))  # noqa: B009 - known to the cursor's result only
