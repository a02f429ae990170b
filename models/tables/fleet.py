"""Who serves: one row a device process, kept fresh by its heartbeat."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import CLOCK, Base


class Worker(Base):
    """A device that decodes one model. The row outlives its process for a day."""

    __tablename__ = "workers"
    __table_args__ = (
        CheckConstraint("rows >= 0", name="rows_not_negative"),
        Index("workers_seen", "model", "last_seen_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int]
    model: Mapped[str]
    device: Mapped[str]
    device_kind: Mapped[str]
    dtype: Mapped[str]
    rows: Mapped[int]  # decoded together at most
    status: Mapped[str]
    drafters: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))  # that jobs may ask it for
    note: Mapped[str | None]  # why some are missing
    started_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    last_seen_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
