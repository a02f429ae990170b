"""Tells whoever listens that a job or its items changed. Sent by PostgreSQL at commit, and only then."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

CHANNEL: Final = "skim_jobs"

NOTIFY: Final = text("SELECT pg_notify(:channel, :job_id)")


def notify(session: Session, job_id: str) -> None:
    """Announce a change of the job; several in one transaction are one notification."""
    session.execute(NOTIFY, {"channel": CHANNEL, "job_id": job_id})
