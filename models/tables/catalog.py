"""What can be served: registered models, the skip sets found for them, and what passes cost on devices."""

from datetime import datetime

from sqlalchemy import ARRAY, CheckConstraint, ForeignKey, Index, Integer, false, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import CLOCK, Base, Json


class Model(Base):
    """A registered set of weights. Jobs refer to it by name; names are parts of queue names."""

    __tablename__ = "models"
    __table_args__ = (
        CheckConstraint("name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'", name="name_is_plain"),
        CheckConstraint("context_length > 0 AND num_layers > 0", name="sizes_positive"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    source: Mapped[str]
    revision: Mapped[str | None]
    dtype: Mapped[str]
    context_length: Mapped[int]
    architecture: Mapped[str]
    num_layers: Mapped[int]
    has_chat_template: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)


class SkipSet(Base):
    """Sub-layers to leave out while drafting, as layer numbers. One is active per place it can serve."""

    __tablename__ = "skip_sets"
    __table_args__ = (
        CheckConstraint("batch_class IN ('1', '2-4', '5+')", name="batch_class_known"),
        Index("skip_sets_model", "model", "id"),
        Index(
            "skip_sets_one_active",
            "model",
            "revision",
            "device_kind",
            "dtype",
            "batch_class",
            unique=True,
            postgresql_where=text("is_active"),
            postgresql_nulls_not_distinct=True,  # a local folder has no revision
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name", ondelete="CASCADE"))
    revision: Mapped[str | None]
    attention: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    mlp: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    device_kind: Mapped[str]
    dtype: Mapped[str]
    batch_class: Mapped[str]
    estimates: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    measurements: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    is_active: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    activated_at: Mapped[datetime | None]
    job_id: Mapped[str | None]  # of the search that found it
    draft_length: Mapped[int | None]
    threshold: Mapped[float | None]  # of the adaptive exit, null for a fixed length
    watched_since: Mapped[datetime | None]  # its acceptance is compared with what it was from here on
    stale_since: Mapped[datetime | None]
    stale_evidence: Mapped[Json | None]


class StepCosts(Base):
    """What the passes of a model cost where everything named by the key is the same, as the engine tells it."""

    __tablename__ = "step_costs"

    model: Mapped[str] = mapped_column(ForeignKey("models.name", ondelete="CASCADE"), primary_key=True)
    weights: Mapped[str] = mapped_column(primary_key=True)
    device_kind: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(primary_key=True)
    dtype: Mapped[str] = mapped_column(primary_key=True)
    threads: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    rows: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    engine: Mapped[str] = mapped_column(primary_key=True)
    costs: Mapped[Json]
    measured_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
