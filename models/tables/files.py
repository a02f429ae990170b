"""What clients hand over and fetch as files, and the batches made from them.

An uploaded file lies in chunks. The output of a batch has none: it is rendered from the items of the batch's job, so
its row only says which job and which part, and exists for readers once that job has ended.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables.base import CLOCK, Base, Json, states


class FilePurpose(StrEnum):
    """What a file is for; the last is never uploaded."""

    BATCH = "batch"
    USER_DATA = "user_data"
    BATCH_OUTPUT = "batch_output"


class Part(StrEnum):
    """Which items of a job a rendered file shows: those that succeeded, or all others."""

    OUTPUT = "output"
    ERROR = "error"


class File(Base):
    """A file. `num_bytes` of a rendered one is filled in by whoever first needs it; until then `items_measured` and
    `bytes_measured` say how far that is.

    `keep_s` of a rendered one counts from its birth; null is as long as its job.
    """

    __tablename__ = "files"
    __table_args__ = (
        CheckConstraint("(part IS NULL) = (job_id IS NULL)", name="part_of_a_job"),
        CheckConstraint("(part IS NULL) = (purpose <> 'batch_output')", name="output_is_rendered"),
        CheckConstraint("part IS NOT NULL OR num_bytes IS NOT NULL", name="size_known"),
        Index("files_tenant", "tenant_id", "id"),
        Index("files_job", "job_id", postgresql_where=text("job_id IS NOT NULL")),
        Index("files_due", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    filename: Mapped[str]
    purpose: Mapped[FilePurpose] = mapped_column(states(FilePurpose, "purpose_known"))
    num_bytes: Mapped[int | None] = mapped_column(BigInteger)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    part: Mapped[Part | None] = mapped_column(states(Part, "part_known"))
    keep_s: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    expires_at: Mapped[datetime | None]  # of an uploaded file
    items_measured: Mapped[int] = mapped_column(server_default=text("0"))
    bytes_measured: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class FileChunk(Base):
    """A piece of an uploaded file; all but the last of one file have one length."""

    __tablename__ = "file_chunks"

    file_id: Mapped[str] = mapped_column(ForeignKey("files.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class Batch(Base):
    """A file of requests and the job that answers them. Without a job it is being checked, was refused or called off.

    `checking_until` is null only of those that a release before it opened. Everything else about a batch is read from
    its job.
    """

    __tablename__ = "batches"
    __table_args__ = (
        CheckConstraint("(errors IS NULL) = (failed_at IS NULL)", name="failed_with_errors"),
        CheckConstraint("num_nonnulls(job_id, failed_at, cancelled_at) <= 1", name="one_fate"),
        Index("batches_tenant", "tenant_id", "id"),
        Index("batches_job", "job_id", unique=True, postgresql_where=text("job_id IS NOT NULL")),
        Index(
            "batches_validating",
            "created_at",
            postgresql_where=text("job_id IS NULL AND failed_at IS NULL AND cancelled_at IS NULL"),
        ),
        Index("batches_refused", text("COALESCE(failed_at, cancelled_at)"), postgresql_where=text("job_id IS NULL")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    input_file_id: Mapped[str]
    endpoint: Mapped[str]
    completion_window: Mapped[str]  # as the client wrote it
    window_s: Mapped[int]
    labels: Mapped[Json] = mapped_column("metadata")  # the client's; `metadata` is SQLAlchemy's
    output_file_id: Mapped[str | None]
    error_file_id: Mapped[str | None]
    errors: Mapped[Json | None]
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    failed_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]  # before there was a job
    checking_until: Mapped[datetime | None]  # by whoever checks it, unless that one says so again
    idempotency_key: Mapped[str | None]  # of the request that made it
