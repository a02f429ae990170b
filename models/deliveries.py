"""Deliveries: made when a job ends, taken one at a time, tried again later and later, and one day given up.

A delivery that is taken is due again after a lease, so one whose sender died is sent once more: receivers tell
repetitions by its id.
"""

import base64
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.ids import new_id

Json = dict[str, Any]

LEASE_S: Final = 60
MAX_ATTEMPTS: Final = 8
FIRST_S: Final = 5.0  # before the second attempt; each further one waits four times as long, with jitter
SECRET_BYTES: Final = 32

OPEN: Final = text("""
INSERT INTO deliveries (id, job_id, tenant_id, url)
SELECT :id, id, tenant_id, webhook_url FROM jobs WHERE id = :job_id AND webhook_url IS NOT NULL
""")

TAKE: Final = text("""
WITH taken AS (
    UPDATE deliveries SET attempts = attempts + 1, due_at = statement_timestamp() + make_interval(secs => :lease_s)
    WHERE id = (
        SELECT id FROM deliveries WHERE status = 'waiting' AND due_at <= statement_timestamp()
        ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING *
)
SELECT taken.id, taken.tenant_id, taken.url, taken.attempts, taken.created_at,
    jsonb_build_object(
        'id', jobs.id, 'object', 'job', 'kind', jobs.kind, 'model', jobs.model, 'status', jobs.status,
        'counts', jobs.counts, 'usage', jobs.usage, 'metadata', jobs.metadata, 'error', jobs.error
    ) AS job
FROM taken JOIN jobs ON jobs.id = taken.job_id
""")

END: Final = text("""
UPDATE deliveries SET status = :status, ended_at = statement_timestamp(), last_error = :error
WHERE id = :id AND status = 'waiting'
""")

POSTPONE: Final = text("""
UPDATE deliveries SET due_at = statement_timestamp() + make_interval(secs => :delay_s), last_error = :error
WHERE id = :id AND status = 'waiting'
""")

SECRET: Final = text("""
INSERT INTO webhooks (tenant_id, secret) VALUES (:tenant_id, :secret)
ON CONFLICT (tenant_id) DO UPDATE SET tenant_id = webhooks.tenant_id
RETURNING secret
""")

ROTATE: Final = text("""
INSERT INTO webhooks (tenant_id, secret) VALUES (:tenant_id, :secret)
ON CONFLICT (tenant_id) DO UPDATE SET secret = excluded.secret, created_at = statement_timestamp()
RETURNING secret
""")


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery in somebody's hands. `job` is what its receiver is told of; `attempts` counts this one."""

    id: str
    tenant_id: str
    url: str
    attempts: int
    created_at: datetime
    job: Json


def open_delivery(session: Session, job_id: str) -> None:
    """Note that the job's owner wants to hear of its end, if so."""
    session.execute(OPEN, {"id": new_id("evt"), "job_id": job_id})


def take_delivery(session: Session) -> Taken | None:
    """The delivery that has been due longest; nobody else gets it for a minute."""
    row = session.execute(TAKE, {"lease_s": LEASE_S}).one_or_none()
    return None if row is None else Taken(*row)


def note_delivered(session: Session, delivery_id: str) -> None:
    """It was accepted."""
    session.execute(END, {"id": delivery_id, "status": "delivered", "error": None})


def note_failed(session: Session, taken: Taken, error: str) -> None:
    """It was not: due again later, or given up."""
    if taken.attempts >= MAX_ATTEMPTS:
        session.execute(END, {"id": taken.id, "status": "given_up", "error": error})
        return
    delay_s = FIRST_S * 4 ** (taken.attempts - 1) * (0.5 + secrets.randbelow(1000) / 1000)
    session.execute(POSTPONE, {"id": taken.id, "delay_s": delay_s, "error": error})


def secret_of(session: Session, tenant_id: str) -> str:
    """What the tenant's deliveries are signed with: `whsec_...`, made when first needed."""
    return str(session.execute(SECRET, {"tenant_id": tenant_id, "secret": _new_secret()}).scalar_one())


def rotate_secret(session: Session, tenant_id: str) -> str:
    """Replace it, at once for every delivery that is still to come."""
    return str(session.execute(ROTATE, {"tenant_id": tenant_id, "secret": _new_secret()}).scalar_one())


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
