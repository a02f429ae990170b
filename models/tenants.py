"""Tenants: who owns jobs and keys, and how large a share of a busy device is theirs."""

from typing import Final

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.tables import Tenant

DEFAULT_ID: Final = "ten_default"
DEFAULT_NAME: Final = "default"


def ensure_tenant(
    session: Session,
    tenant_id: str,
    *,
    name: str | None = None,
    weight: int = 1,
    max_open_items: int | None = None,
    max_open_jobs: int | None = None,
    max_queued_tokens: int | None = None,
) -> None:
    """Make the tenant unless it is there already; an existing one stays as it is.

    `weight` is relative to other tenants'; `max_open_items` and `max_open_jobs` bound what it has unfinished, and
    `max_queued_tokens` the output that its unfinished items may have.
    """
    statement = insert(Tenant).values(
        id=tenant_id,
        name=name or tenant_id,
        weight=weight,
        max_open_items=max_open_items,
        max_open_jobs=max_open_jobs,
        max_queued_tokens=max_queued_tokens,
    )
    session.execute(statement.on_conflict_do_nothing(index_elements=[Tenant.id]))
