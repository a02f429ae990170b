"""Tenants: who owns jobs and keys, how large a share of a busy device is theirs, and how much they may have at once."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.errors import TenantExists, TenantNotFound
from models.page import Page, page_of
from models.tables import Tenant

# The first tenant belongs to whoever runs the service: its administrators administer the others too.
DEFAULT_ID: Final = "ten_default"
DEFAULT_NAME: Final = "default"


@dataclass(frozen=True, slots=True)
class TenantView:
    """A tenant. `weight` is relative to others'; limits that are None do not limit."""

    id: str
    name: str
    weight: int
    max_open_jobs: int | None
    max_open_items: int | None
    max_queued_tokens: int | None
    keep_s: int | None
    allows_calibration: bool
    created_at: datetime


def ensure_tenant(session: Session, tenant_id: str, *, name: str | None = None, **settings: Any) -> None:
    """Make the tenant unless it is there already; an existing one stays as it is.

    `settings` are fields of `TenantView`.
    """
    statement = insert(Tenant).values(id=tenant_id, name=name or tenant_id, **settings)
    session.execute(statement.on_conflict_do_nothing(index_elements=[Tenant.id]))


def add_tenant(session: Session, tenant_id: str, name: str, **settings: Any) -> TenantView:
    """Make a tenant; `settings` are fields of `TenantView`. Raises TenantExists."""
    statement = insert(Tenant).values(id=tenant_id, name=name, **settings)
    made = session.scalar(statement.on_conflict_do_nothing(index_elements=[Tenant.name]).returning(Tenant))
    if made is None:
        raise TenantExists(name)
    return _view(made)


def change_tenant(session: Session, tenant_id: str, **settings: Any) -> TenantView:
    """Change fields of `TenantView`: quotas hold from the next submit, a weight from the next ring.

    Raises TenantNotFound.
    """
    if not settings:
        return get_tenant(session, tenant_id)
    statement = update(Tenant).where(Tenant.id == tenant_id).values(**settings).returning(Tenant)
    changed = session.scalar(statement, execution_options={"populate_existing": True})
    if changed is None:
        raise TenantNotFound(tenant_id)
    return _view(changed)


def get_tenant(session: Session, tenant_id: str) -> TenantView:
    """One tenant. Raises TenantNotFound."""
    found = session.scalar(select(Tenant).where(Tenant.id == tenant_id))
    if found is None:
        raise TenantNotFound(tenant_id)
    return _view(found)


def list_tenants(session: Session, *, after: str | None = None, limit: int = 100) -> Page[TenantView]:
    """All tenants, newest first, from the one after id `after`."""
    query = select(Tenant).order_by(Tenant.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(Tenant.id < after)
    return page_of([_view(tenant) for tenant in session.scalars(query)], limit)


def _view(tenant: Tenant) -> TenantView:
    return TenantView(**{name: getattr(tenant, name) for name in TenantView.__slots__})
