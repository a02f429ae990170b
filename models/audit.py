"""Audit: who made, used and revoked keys, changed tenants and schedules, and activated skip sets.

Rows are added in the transaction that did it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from models.ids import new_id
from models.page import Page, page_of
from models.tables import Audit

KEPT_DAYS: Final = 90


class Action(StrEnum):
    """What was done."""

    KEY_CREATED = "key.created"
    KEY_USED = "key.used"
    KEY_REVOKED = "key.revoked"
    TENANT_CREATED = "tenant.created"
    TENANT_CHANGED = "tenant.changed"
    SKIP_SET_ACTIVATED = "skip_set.activated"
    SKIP_SET_ROLLED_BACK = "skip_set.rolled_back"
    SCHEDULE_CHANGED = "schedule.changed"
    SCHEDULE_DELETED = "schedule.deleted"


@dataclass(frozen=True, slots=True)
class AuditView:
    """One entry: `actor_id` is the key that did it to `subject_id`, None for what the service itself did."""

    id: str
    tenant_id: str
    action: str
    subject_id: str
    actor_id: str | None
    at: datetime


FORGET: Final = text("""
DELETE FROM audit WHERE id IN (
    SELECT id FROM audit WHERE at < statement_timestamp() - make_interval(days => :days)
    ORDER BY at LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")


def note(session: Session, tenant_id: str, action: Action, subject_id: str, actor_id: str | None = None) -> None:
    """Write that `actor_id` has done it to `subject_id`, which belongs to the tenant."""
    values = {"id": new_id("aud"), "tenant_id": tenant_id, "action": action.value}
    session.execute(insert(Audit).values(**values, subject_id=subject_id, actor_id=actor_id))


def list_audit(session: Session, tenant_id: str, *, after: str | None = None, limit: int = 100) -> Page[AuditView]:
    """The tenant's entries, newest first, from the one after id `after`."""
    query = select(Audit).where(Audit.tenant_id == tenant_id).order_by(Audit.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(Audit.id < after)
    return page_of([_view(row) for row in session.scalars(query)], limit)


def forget_audit(session: Session, *, limit: int) -> None:
    """Delete up to `limit` entries older than `KEPT_DAYS`."""
    session.execute(FORGET, {"days": KEPT_DAYS, "limit": limit})


def _view(row: Audit) -> AuditView:
    return AuditView(**{name: getattr(row, name) for name in AuditView.__slots__})
