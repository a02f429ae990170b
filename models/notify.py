"""Tells whoever listens that a job or its items changed. Sent by PostgreSQL at commit, and only then."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

CHANNEL: Final = "skim_jobs"

OVER: Final = "/over"  # behind the job's id when the job has ended

NOTIFY: Final = text("SELECT pg_notify(:channel, :job_id)")


def notify(session: Session, job_id: str, *, is_over: bool = False) -> None:
    """Announce a change of the job, or that it has ended; several alike in one transaction are one notification."""
    session.execute(NOTIFY, {"channel": CHANNEL, "job_id": job_id + OVER if is_over else job_id})
