"""Whom to tell of the end of a job, and how far that has come."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import CLOCK, Base, states


class DeliveryStatus(StrEnum):
    """A delivery waits until it is accepted or has been tried often enough."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class Webhook(Base):
    """What a tenant's deliveries are signed with. It has to be known in the clear to sign."""

    __tablename__ = "webhooks"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True)
    secret: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)


class Delivery(Base):
    """One message to one address, made in the transaction that ended the job."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("deliveries_due", "due_at", postgresql_where=text("status = 'waiting'")),
        Index("deliveries_job", "job_id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    url: Mapped[str]
    status: Mapped[DeliveryStatus] = mapped_column(states(DeliveryStatus, "status_known"), server_default="waiting")
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    due_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    last_error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    ended_at: Mapped[datetime | None]
