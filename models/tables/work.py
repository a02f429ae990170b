"""What is to be done: jobs, their shards (which carry claim, lease and epoch) and their items.

The partial indexes are as small as the work that is open, and none contains a column that a heartbeat or a result
changes, so those updates stay in their page.
"""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from models.states import ItemStatus, JobKind, JobStatus, Lane, ShardStatus
from models.tables.base import CLOCK, Base, Json, states

OPEN = text("status IN ('queued', 'running')")
ENDED_WITH_TIME = "(status IN ('queued', 'running')) = (finished_at IS NULL)"


class Job(Base):
    """What a client submitted. The last three columns are written when it ends."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint("num_items >= 0", name="num_items_not_negative"),
        CheckConstraint(ENDED_WITH_TIME, name="ended_with_time"),
        Index("jobs_tenant", "tenant_id", "id"),
        Index("jobs_open_of_tenant", "tenant_id", "id", postgresql_where=OPEN),
        Index("jobs_running", "id", postgresql_where=text("status = 'running'")),
        Index("jobs_due", "expires_at", postgresql_where=text(f"{OPEN.text} AND expires_at IS NOT NULL")),
        Index("jobs_cancelling", "id", postgresql_where=text(f"{OPEN.text} AND cancel_requested_at IS NOT NULL")),
        Index("jobs_delete_at", "delete_at", postgresql_where=text("delete_at IS NOT NULL")),
        Index("jobs_retry_of", "retry_of", postgresql_where=text("retry_of IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    kind: Mapped[JobKind] = mapped_column(states(JobKind, "kind_known"))
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    lane: Mapped[Lane] = mapped_column(states(Lane, "lane_known"))
    status: Mapped[JobStatus] = mapped_column(states(JobStatus, "status_known"), server_default="queued")
    parameters: Mapped[Json]
    decoding: Mapped[Json]  # as asked for
    options: Mapped[Json]
    labels: Mapped[Json] = mapped_column("metadata")  # the client's; `metadata` is SQLAlchemy's
    num_items: Mapped[int]
    webhook_url: Mapped[str | None]
    retry_of: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    error: Mapped[Json | None]
    counts: Mapped[Json | None]
    usage: Mapped[Json | None]
    decoding_stats: Mapped[Json | None]  # as measured
    keep_s: Mapped[int | None]  # after its end; null is as long as usual
    delete_at: Mapped[datetime | None]
    origin: Mapped[Json | None]  # ids of the request that made it, for logs and spans


class Shard(Base):
    """Items `first` to `last` of a job: what one worker holds at a time, under `epoch`.

    `rung_at` is when a message for it was last published, null when none is under way; `tally` is what its items add
    up to, once it has finished.
    """

    __tablename__ = "shards"
    __table_args__ = (
        CheckConstraint("0 <= first AND first <= last", name="range_ascends"),
        CheckConstraint("(status = 'running') = (lease_expires_at IS NOT NULL)", name="held_with_lease"),
        # Ringing: the tenants that wait, each one's oldest; what is rung; who holds how many.
        Index(
            "shards_waiting",
            "model",
            "lane",
            "tenant_id",
            "created_at",
            "job_id",
            "number",
            postgresql_where=text("status = 'queued'"),
        ),
        Index(
            "shards_rung",
            "model",
            "lane",
            "rung_at",
            postgresql_where=text("status = 'queued' AND rung_at IS NOT NULL"),
        ),
        Index("shards_running", "model", "lane", "tenant_id", postgresql_where=text("status = 'running'")),
        Index("shards_open", "job_id", "number", postgresql_where=OPEN),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    first: Mapped[int]
    last: Mapped[int]
    model: Mapped[str]
    lane: Mapped[Lane] = mapped_column(states(Lane, "lane_known"))
    tenant_id: Mapped[str]
    status: Mapped[ShardStatus] = mapped_column(states(ShardStatus, "status_known"), server_default="queued")
    epoch: Mapped[int] = mapped_column(server_default=text("0"))
    lease_expires_at: Mapped[datetime | None]
    rung_at: Mapped[datetime | None]
    worker_id: Mapped[str | None]
    created_at: Mapped[datetime]
    tally: Mapped[Json | None]


class Item(Base):
    """One input and what became of it. `attempts` counts admissions to an engine that were not given back.

    `output` is the first of its choices; `choices` are all of them, null where there is only one.
    """

    __tablename__ = "items"
    __table_args__ = (
        CheckConstraint(ENDED_WITH_TIME, name="ended_with_time"),
        CheckConstraint("attempts >= 0", name="attempts_not_negative"),
        Index("items_custom_id", "job_id", "custom_id", unique=True, postgresql_where=text("custom_id IS NOT NULL")),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    shard_number: Mapped[int]
    custom_id: Mapped[str | None]
    status: Mapped[ItemStatus] = mapped_column(states(ItemStatus, "status_known"), server_default="queued")
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    input: Mapped[Json]
    output: Mapped[str | None]
    finish_reason: Mapped[str | None]
    usage: Mapped[Json | None]
    decoding: Mapped[Json | None]
    error: Mapped[Json | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    choices: Mapped[list[Json] | None]
    logprobs: Mapped[Json | None]
