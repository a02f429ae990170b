"""Retention: jobs that have ended, files, and batches that never became a job are deleted when their time is up.

For their readers jobs and files are gone at once. The rows follow in short transactions of a bounded number of them: a
job of 50,000 items is taken apart over many, its items first, and thousands of small jobs share one. Of a job whose end
is still to be told the texts go in time; its row goes once the delivery has ended.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from models.database import Database

KEEP_S: Final = 30 * 24 * 3600  # unless the client says otherwise

# Of a job: its time is not up.
IS_KEPT: Final = "(jobs.delete_at IS NULL OR jobs.delete_at > statement_timestamp())"

ITEMS: Final = 2_000  # that a transaction deletes
CHUNKS: Final = 200  # the same of pieces of files, which are a quarter of a megabyte
MOST: Final = 500  # jobs or files that a transaction looks at

IS_TO_BE_TOLD: Final = "EXISTS (SELECT FROM deliveries WHERE job_id = jobs.id AND status = 'waiting')"
HAS_ITEMS: Final = "EXISTS (SELECT FROM items WHERE job_id = jobs.id)"

# The oldest ones, as many as have `rows` items together. Whoever reads or retries one of them just now has it first.
DUE_JOBS: Final = text(f"""
SELECT id FROM jobs
WHERE id IN (
    SELECT id FROM (
        SELECT id, sum(num_items) OVER (ORDER BY delete_at, id) - num_items AS num_before
        FROM (
            SELECT * FROM jobs
            WHERE delete_at <= statement_timestamp() AND ({HAS_ITEMS} OR NOT {IS_TO_BE_TOLD})
            ORDER BY delete_at, id LIMIT :most
        ) AS due
    ) AS counted
    WHERE num_before < :rows
)
FOR UPDATE SKIP LOCKED
""")

DUE_FILES: Final = text("""
SELECT id FROM files WHERE expires_at <= statement_timestamp()
ORDER BY expires_at LIMIT :most FOR UPDATE SKIP LOCKED
""")

# The others go with their jobs.
DELETE_BATCHES: Final = text("""
DELETE FROM batches WHERE id IN (
    SELECT batches.id FROM batches JOIN tenants ON tenants.id = batches.tenant_id
    WHERE batches.job_id IS NULL AND coalesce(batches.failed_at, batches.cancelled_at)
        <= statement_timestamp() - make_interval(secs => coalesce(tenants.keep_s, :keep_s))
    ORDER BY coalesce(batches.failed_at, batches.cancelled_at) LIMIT :rows FOR UPDATE OF batches SKIP LOCKED
)
""")

# By their place on the disk: what has ended is never updated, so nothing moves.
DELETE_ITEMS: Final = text("""
DELETE FROM items WHERE ctid = ANY(ARRAY(SELECT ctid FROM items WHERE job_id = ANY(:ids) LIMIT :rows))
""")

DELETE_CHUNKS: Final = text("""
DELETE FROM file_chunks WHERE ctid = ANY(ARRAY(SELECT ctid FROM file_chunks WHERE file_id = ANY(:ids) LIMIT :rows))
""")

# A retry outlives the job it was made of: the reference to that becomes null.
DELETE_JOBS: Final = text(f"""
DELETE FROM jobs WHERE id = ANY(:ids) AND NOT {HAS_ITEMS} AND NOT {IS_TO_BE_TOLD}
""")

DELETE_FILES: Final = text("""
DELETE FROM files WHERE id = ANY(:ids) AND NOT EXISTS (SELECT FROM file_chunks WHERE file_id = files.id)
""")


def forget(database: Database, *, for_s: float) -> int:
    """Delete what is past its date until nothing is left or the time is over; returns how many rows went."""
    until = time.monotonic() + for_s
    total = 0
    for forget_some in (forget_jobs, forget_files, forget_batches):
        while time.monotonic() < until and (num := _committed(database, forget_some)):
            total += num
    return total


def forget_jobs(session: Session, *, rows: int = ITEMS) -> int:
    """Delete up to `rows` items of jobs past their date, and the jobs that have none left; returns how many went.

    0 says that nothing is left to delete, or that it is in somebody's hands.
    """
    due = session.execute(DUE_JOBS, {"rows": rows, "most": MOST}).scalars().all()
    return _delete(session, due, rows, DELETE_ITEMS, DELETE_JOBS) if due else 0


def forget_files(session: Session, *, rows: int = CHUNKS) -> int:
    """Delete up to `rows` pieces of files past their date, and the files that have none left; likewise."""
    due = session.execute(DUE_FILES, {"most": MOST}).scalars().all()
    return _delete(session, due, rows, DELETE_CHUNKS, DELETE_FILES) if due else 0


def forget_batches(session: Session, *, rows: int = MOST) -> int:
    """Delete up to `rows` batches that were refused, or called off unchecked, longer ago than their tenant keeps jobs.

    Returns how many went.
    """
    return _rowcount(session, DELETE_BATCHES, {"rows": rows, "keep_s": KEEP_S})


def _committed(database: Database, forget_some: Callable[[Session], int]) -> int:
    with database.session() as session:
        return forget_some(session)


def _delete(session: Session, ids: object, rows: int, parts: TextClause, wholes: TextClause) -> int:
    return _rowcount(session, parts, {"ids": ids, "rows": rows}) + _rowcount(session, wholes, {"ids": ids})


def _rowcount(session: Session, statement: TextClause, values: Mapping[str, object]) -> int:
    return int(getattr(session.execute(statement, values), "rowcount"))  # noqa: B009 - known to its cursor only
