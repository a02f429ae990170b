"""Who may ask: tenants, their API keys, and the requests they have already made."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, false, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import CLOCK, Base


class Tenant(Base):
    """Owner of jobs and keys. `weight` is its share of a busy device."""

    __tablename__ = "tenants"
    __table_args__ = (CheckConstraint("weight > 0", name="weight_positive"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    weight: Mapped[int] = mapped_column(server_default=text("1"))
    max_open_items: Mapped[int | None]  # quota: unfinished items of all its jobs; null is no limit
    max_open_jobs: Mapped[int | None]  # likewise
    max_queued_tokens: Mapped[int | None] = mapped_column(BigInteger)  # likewise, of output that its items may have
    allows_calibration: Mapped[bool] = mapped_column(server_default=false())  # its prompts may tune skip sets
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    keep_s: Mapped[int | None]  # of jobs that do not say; null is as long as usual


class ApiKey(Base):
    """A key is known by the SHA-256 of its secret; the secret itself is nowhere."""

    __tablename__ = "api_keys"
    __table_args__ = (
        CheckConstraint("length(hash) = 64", name="hash_is_sha256"),
        Index("api_keys_tenant", "tenant_id", "id"),
        Index("api_keys_over", text("LEAST(revoked_at, expires_at)")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    name: Mapped[str]
    prefix: Mapped[str]  # what people recognise it by
    hash: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # to the minute


class Audit(Base):
    """What was done with a key or to a tenant, and by which key."""

    __tablename__ = "audit"
    __table_args__ = (Index("audit_tenant", "tenant_id", "id"), Index("audit_age", "at"))

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    action: Mapped[str]
    subject_id: Mapped[str]
    actor_id: Mapped[str | None]
    at: Mapped[datetime] = mapped_column(server_default=CLOCK)


class IdempotencyKey(Base):
    """The first request of a tenant with this key, and the id of what it made. Forgotten after a day."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("idempotency_keys_age", "created_at"),)

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    target_id: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
