"""Cancel: a flag in the job's row. What nobody holds ends at once; holders see the flag within a second."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.ending import end_job, withdraw
from models.errors import Conflict, JobNotFound
from models.notify import notify
from models.states import TERMINAL_JOB, ItemStatus, JobStatus

LOCK_JOB: Final = text("""
SELECT status FROM jobs WHERE id = :job_id AND tenant_id = :tenant_id FOR NO KEY UPDATE
""")

FLAG: Final = text("""
UPDATE jobs SET cancel_requested_at = coalesce(cancel_requested_at, statement_timestamp()) WHERE id = :job_id
""")


def cancel(session: Session, tenant_id: str, job_id: str) -> bool:
    """Ask for a job to be cancelled; items that have ended are kept. True when the job is cancelled already.

    Asking again changes nothing.

    Raises:
        JobNotFound: the tenant has no such job.
        Conflict: the job has ended otherwise.
    """
    status = session.execute(LOCK_JOB, {"job_id": job_id, "tenant_id": tenant_id}).scalar()
    if status is None:
        raise JobNotFound(job_id)
    if status == JobStatus.CANCELLED:
        return True
    if status in TERMINAL_JOB:
        raise Conflict(f"job {job_id} has ended already: {status}")
    session.execute(FLAG, {"job_id": job_id})
    notify(session, job_id)
    withdraw(session, job_id, ItemStatus.CANCELLED)
    return end_job(session, job_id)
