"""Searches for skip sets: what is looked for, what was tried, which set serves where since when, and the nights.

A search outlives its job: what it found out stays when the job's inputs and outputs have been erased.
"""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from models.states import ActivationKind, Calibration, FireDecision, SearchOutcome, SearchPhase
from models.tables.base import CLOCK, Base, Json, states


class Search(Base):
    """A search, by the job that carries it. The last columns are written when it is settled.

    `study` names the trials that it goes on from: its own job's id, or that of the first of the searches it resumes.
    """

    __tablename__ = "searches"
    __table_args__ = (
        CheckConstraint("batch_class IN ('1', '2-4', '5+')", name="batch_class_known"),
        CheckConstraint("(outcome IS NULL) = (settled_at IS NULL)", name="settled_with_outcome"),
        Index("searches_model", "model", "job_id"),
    )

    job_id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    model: Mapped[str] = mapped_column(ForeignKey("models.name", ondelete="CASCADE"))
    revision: Mapped[str | None]
    device_kind: Mapped[str]
    dtype: Mapped[str]
    batch_class: Mapped[str]
    sampler: Mapped[str]
    max_trials: Mapped[int]
    max_seconds: Mapped[float | None]  # of the device
    promotes: Mapped[bool] = mapped_column(server_default=true())
    seed: Mapped[int] = mapped_column(BigInteger)
    calibration: Mapped[Calibration] = mapped_column(states(Calibration, "calibration_known"))
    num_prompts: Mapped[int]
    study: Mapped[str]
    workers: Mapped[int] = mapped_column(server_default=text("1"))  # that share it at most
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    phase: Mapped[SearchPhase | None] = mapped_column(states(SearchPhase, "phase_known"))
    num_trials: Mapped[int] = mapped_column(server_default=text("0"))
    best_speed: Mapped[float | None]
    best_bits: Mapped[str | None]
    device_seconds: Mapped[Json] = mapped_column(server_default=text("'{}'"))
    weights: Mapped[str | None]  # what the worker says it searches
    noted_at: Mapped[datetime | None]
    outcome: Mapped[SearchOutcome | None] = mapped_column(states(SearchOutcome, "outcome_known"))
    skip_set_id: Mapped[str | None] = mapped_column(ForeignKey("skip_sets.id", ondelete="SET NULL"))
    is_promoted: Mapped[bool] = mapped_column(server_default=false())
    note: Mapped[str | None]  # why nothing was promoted, if nothing was
    finalist: Mapped[Json | None]
    report: Mapped[Json | None]
    settled_at: Mapped[datetime | None]


class Trial(Base):
    """A candidate of a search, scored on `prompts` prompts. Speeds are relative to plain decoding."""

    __tablename__ = "trials"
    __table_args__ = (UniqueConstraint("job_id", "bits", "prompts"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("searches.job_id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    bits: Mapped[str]
    source: Mapped[str]
    prompts: Mapped[int]
    speed: Mapped[float]
    spread: Mapped[float]
    acceptance: Mapped[float]
    loss: Mapped[float]
    draft_length: Mapped[int]
    device_seconds: Mapped[float]  # spent until then by the worker that scored it
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)


class Activation(Base):
    """A change of what serves a place. `was` and `became` are a skip set's id, `plain`, or null: the starting set.

    The newest row of a place says what serves it; a roll back names the activation it undid.
    """

    __tablename__ = "activations"
    __table_args__ = (
        CheckConstraint("(kind = 'rolled_back') = (undid IS NOT NULL)", name="roll_back_undoes"),
        Index("activations_place", "model", "revision", "device_kind", "dtype", "batch_class", "number"),
    )

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name", ondelete="CASCADE"))
    revision: Mapped[str | None]
    device_kind: Mapped[str]
    dtype: Mapped[str]
    batch_class: Mapped[str]
    kind: Mapped[ActivationKind] = mapped_column(states(ActivationKind, "kind_known"))
    was: Mapped[str | None]
    became: Mapped[str | None]
    undid: Mapped[int | None] = mapped_column(BigInteger)
    tenant_id: Mapped[str | None]  # whose search or key it was
    job_id: Mapped[str | None]  # of the search that promoted
    actor_id: Mapped[str | None]  # the API key, null for the service itself
    at: Mapped[datetime] = mapped_column(server_default=CLOCK)


class Acceptance(Base):
    """What items that ended between two moments accepted of a skip set's drafts: sums, and sums of products for noise.

    One row a skip set and look; the newest `until` says how far the counting has come.
    """

    __tablename__ = "acceptances"
    __table_args__ = (Index("acceptances_until", "until"),)

    skip_set_id: Mapped[str] = mapped_column(ForeignKey("skip_sets.id", ondelete="CASCADE"), primary_key=True)
    until: Mapped[datetime] = mapped_column(primary_key=True)
    num_items: Mapped[int] = mapped_column(BigInteger)
    drafted: Mapped[int] = mapped_column(BigInteger)
    accepted: Mapped[int] = mapped_column(BigInteger)
    drafted_squared: Mapped[float]
    accepted_squared: Mapped[float]
    drafted_accepted: Mapped[float]


class Schedule(Base):
    """When a model is looked at, and what a search may cost then. Fire times up to `looked_until` are dealt with."""

    __tablename__ = "schedules"
    __table_args__ = (
        CheckConstraint("batch_class IN ('1', '2-4', '5+')", name="batch_class_known"),
        CheckConstraint("window_s > 0 AND max_age_days > 0 AND max_trials > 0", name="limits_positive"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name", ondelete="CASCADE"), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    cron: Mapped[str]
    timezone: Mapped[str]
    max_trials: Mapped[int]
    max_seconds: Mapped[float | None]
    window_s: Mapped[int]  # after the fire time
    max_age_days: Mapped[int]  # of a search that is still good
    batch_class: Mapped[str]
    sampler: Mapped[str]
    promotes: Mapped[bool] = mapped_column(server_default=true())
    calibration: Mapped[Calibration] = mapped_column(states(Calibration, "calibration_known"))
    is_paused: Mapped[bool] = mapped_column(server_default=false())
    created_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    updated_at: Mapped[datetime] = mapped_column(server_default=CLOCK)
    looked_until: Mapped[datetime] = mapped_column(server_default=CLOCK)


class Fire(Base):
    """A fire time of a schedule that was dealt with, and what was decided. Outlives its schedule."""

    __tablename__ = "fires"
    __table_args__ = (
        UniqueConstraint("schedule_id", "fire_time"),
        CheckConstraint("(decision = 'opened') = (job_id IS NOT NULL)", name="opened_a_job"),
        Index("fires_model", "model", "tenant_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    schedule_id: Mapped[str | None] = mapped_column(ForeignKey("schedules.id", ondelete="SET NULL"))
    model: Mapped[str] = mapped_column(ForeignKey("models.name", ondelete="CASCADE"))
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"))
    fire_time: Mapped[datetime]
    at: Mapped[datetime]
    decision: Mapped[FireDecision] = mapped_column(states(FireDecision, "decision_known"))
    reason: Mapped[str]
    detail: Mapped[str]
    num_missed: Mapped[int] = mapped_column(server_default=text("0"))  # earlier fire times that went by
    job_id: Mapped[str | None]
