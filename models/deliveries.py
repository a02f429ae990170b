"""Deliveries: made when a job ends, taken one at a time, tried again later and later, and one day given up.

A delivery that is taken is due again after a lease, so one whose sender died is sent once more: receivers tell
repetitions by its id. Whose turn it is the taker says, who knows what it is sending already.
"""

import base64
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models.errors import DeliveryNotFound, JobNotFound
from models.ids import new_id
from models.page import Page, page_of
from models.retention import IS_KEPT
from models.tables import Delivery
from models.tables.webhooks import DeliveryStatus

Json = dict[str, Any]

LEASE_S: Final = 60
MAX_ATTEMPTS: Final = 8
FIRST_S: Final = 5.0  # before the second attempt; each further one waits four times as long, with jitter
SECRET_BYTES: Final = 32

OPEN: Final = text("""
INSERT INTO deliveries (id, job_id, tenant_id, url)
SELECT :id, id, tenant_id, webhook_url FROM jobs WHERE id = :job_id AND webhook_url IS NOT NULL
""")

IS_DUE: Final = text("""
SELECT EXISTS (SELECT FROM deliveries WHERE status = 'waiting' AND due_at <= statement_timestamp())
""")

HOST: Final = "lower(substring(url FROM '^[^:]+://([^/?#]+)'))"  # with the port, if it has one

# A tenant that was served before comes after those that were not, however long its own have been due.
TAKE: Final = text(f"""
WITH taken AS (
    UPDATE deliveries SET attempts = attempts + 1, due_at = statement_timestamp() + make_interval(secs => :lease_s)
    WHERE id = (
        SELECT id FROM deliveries WHERE status = 'waiting' AND due_at <= statement_timestamp()
            AND tenant_id <> ALL(CAST(:full_tenants AS text[]))
            AND coalesce({HOST}, '') <> ALL(CAST(:full_hosts AS text[]))
        ORDER BY coalesce(array_position(CAST(:served AS text[]), tenant_id), 0), due_at
        LIMIT 1 FOR UPDATE SKIP LOCKED
    )
    RETURNING *
)
SELECT taken.id, taken.tenant_id, coalesce({HOST}, '') AS host, taken.url, taken.attempts, taken.created_at,
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

# With all its attempts before it again, and at once.
AGAIN: Final = text(f"""
UPDATE deliveries SET status = 'waiting', attempts = 0, due_at = statement_timestamp(), ended_at = NULL
FROM jobs
WHERE deliveries.id = :id AND jobs.id = deliveries.job_id AND jobs.id = :job_id AND jobs.tenant_id = :tenant_id
    AND {IS_KEPT}
""")

JOB_EXISTS: Final = text(f"SELECT 1 FROM jobs WHERE id = :job_id AND tenant_id = :tenant_id AND {IS_KEPT}")

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
    host: str
    url: str
    attempts: int
    created_at: datetime
    job: Json


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A delivery as the job's owner sees it. `due_at` is when it is sent next, None once it has ended."""

    id: str
    job_id: str
    url: str
    status: DeliveryStatus
    attempts: int
    last_error: str | None
    due_at: datetime | None
    created_at: datetime
    ended_at: datetime | None


def is_delivery_due(session: Session) -> bool:
    """Whether a sender would find something to do."""
    return bool(session.execute(IS_DUE).scalar_one())


def open_delivery(session: Session, job_id: str) -> None:
    """Note that the job's owner wants to hear of its end, if so."""
    session.execute(OPEN, {"id": new_id("evt"), "job_id": job_id})


def take_delivery(
    session: Session,
    *,
    full_tenants: Collection[str] = (),
    full_hosts: Collection[str] = (),
    served: Sequence[str] = (),
) -> Taken | None:
    """The delivery whose turn it is; nobody else gets it for a minute.

    None of those tenants or hosts that are full. `served` are the tenants that had their turn, the latest last: among
    the others what has been due longest comes first.
    """
    values = {"full_tenants": list(full_tenants), "full_hosts": list(full_hosts), "served": list(served)}
    row = session.execute(TAKE, {"lease_s": LEASE_S, **values}).one_or_none()
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


def list_deliveries(
    session: Session, tenant_id: str, job_id: str, *, after: str | None = None, limit: int = 20
) -> Page[DeliveryView]:
    """Deliveries of a job, newest first, from the one after id `after`. Raises JobNotFound."""
    _check_job(session, tenant_id, job_id)
    query = select(Delivery).where(Delivery.job_id == job_id).order_by(Delivery.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(Delivery.id < after)
    return page_of([_view(row) for row in session.scalars(query)], limit)


def get_delivery(session: Session, tenant_id: str, job_id: str, delivery_id: str) -> DeliveryView:
    """One delivery of a job. Raises JobNotFound, DeliveryNotFound."""
    _check_job(session, tenant_id, job_id)
    query = select(Delivery).where(Delivery.id == delivery_id, Delivery.job_id == job_id)
    found = session.scalar(query, execution_options={"populate_existing": True})
    if found is None:
        raise DeliveryNotFound(delivery_id)
    return _view(found)


def deliver_again(session: Session, tenant_id: str, job_id: str, delivery_id: str) -> None:
    """Send it once more, however it ended, and as often as a new one; what waits is sent now.

    Raises:
        JobNotFound, DeliveryNotFound: the tenant has no such job, or the job no such delivery.
    """
    done = session.execute(AGAIN, {"id": delivery_id, "job_id": job_id, "tenant_id": tenant_id})
    if not getattr(done, "rowcount"):  # noqa: B009 - known to the cursor's result only
        get_delivery(session, tenant_id, job_id, delivery_id)


def secret_of(session: Session, tenant_id: str) -> str:
    """What the tenant's deliveries are signed with: `whsec_...`, made when first needed."""
    return str(session.execute(SECRET, {"tenant_id": tenant_id, "secret": _new_secret()}).scalar_one())


def rotate_secret(session: Session, tenant_id: str) -> str:
    """Replace it, at once for every delivery that is still to come."""
    return str(session.execute(ROTATE, {"tenant_id": tenant_id, "secret": _new_secret()}).scalar_one())


def _check_job(session: Session, tenant_id: str, job_id: str) -> None:
    if session.execute(JOB_EXISTS, {"job_id": job_id, "tenant_id": tenant_id}).first() is None:
        raise JobNotFound(job_id)


def _view(row: Delivery) -> DeliveryView:
    values = {name: getattr(row, name) for name in DeliveryView.__slots__}
    is_over = row.status is not DeliveryStatus.WAITING
    return DeliveryView(**values | {"due_at": None if is_over else row.due_at})


def _new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
