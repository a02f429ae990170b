"""Schedules: when a model is looked at for a better skip set. A model has one, which is a tenant's."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from models.catalog import get_model
from models.cron import check_cron, next_fire
from models.errors import ScheduleNotFound, ScheduleTaken
from models.ids import new_id
from models.page import Page, page_of
from models.states import Calibration, FireDecision, JobStatus, SearchOutcome


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """What may be set. A search opens within `window_s` of the fire time and has to be done by then.

    `max_age_days`: a model whose last search is older needs another, whatever its acceptance. `max_seconds` are the
    device's.
    """

    cron: str
    timezone: str
    max_trials: int
    max_seconds: float | None
    window_s: int
    max_age_days: int
    batch_class: str
    sampler: str
    promotes: bool
    calibration: Calibration
    is_paused: bool


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule. Fire times up to `looked_until` have been dealt with; `next_fire_at` is None while it is paused."""

    id: str
    model: str
    tenant_id: str
    settings: ScheduleSettings
    created_at: datetime
    updated_at: datetime
    looked_until: datetime
    next_fire_at: datetime | None


@dataclass(frozen=True, slots=True)
class FireView:
    """A night: what was decided at a fire time and why, and what came of the search if one was opened.

    `num_missed` earlier fire times went by unseen. `outcome` and `note` are the search's: the note says why it
    promoted nothing.
    """

    id: str
    model: str
    fire_time: datetime
    at: datetime
    decision: FireDecision
    reason: str
    detail: str
    num_missed: int
    job_id: str | None
    status: JobStatus | None
    outcome: SearchOutcome | None
    is_promoted: bool | None
    note: str | None
    num_trials: int | None
    best_speed: float | None


# Another tenant's stays as it is. Fire times that a changed clock would have had are none.
PUT: Final = text("""
INSERT INTO schedules (id, model, tenant_id, cron, timezone, max_trials, max_seconds, window_s, max_age_days,
                       batch_class, sampler, promotes, calibration, is_paused)
VALUES (:id, :model, :tenant_id, :cron, :timezone, :max_trials, :max_seconds, :window_s, :max_age_days, :batch_class,
        :sampler, :promotes, :calibration, :is_paused)
ON CONFLICT (model) DO UPDATE
SET cron = :cron, timezone = :timezone, max_trials = :max_trials, max_seconds = :max_seconds, window_s = :window_s,
    max_age_days = :max_age_days, batch_class = :batch_class, sampler = :sampler, promotes = :promotes,
    calibration = :calibration, is_paused = :is_paused, updated_at = statement_timestamp(),
    looked_until = CASE
        WHEN (schedules.cron, schedules.timezone, schedules.is_paused) = (:cron, :timezone, :is_paused)
        THEN schedules.looked_until ELSE statement_timestamp()
    END
WHERE schedules.tenant_id = :tenant_id
RETURNING *
""")

GET: Final = text("SELECT * FROM schedules WHERE model = :model AND tenant_id = :tenant_id")

DELETE: Final = text("DELETE FROM schedules WHERE model = :model AND tenant_id = :tenant_id RETURNING id")

FIRES: Final = text("""
SELECT fires.id, fires.model, fire_time, at, decision, reason, detail, num_missed, fires.job_id, jobs.status,
       outcome, is_promoted, note, num_trials, best_speed
FROM fires LEFT JOIN searches ON searches.job_id = fires.job_id LEFT JOIN jobs ON jobs.id = fires.job_id
WHERE fires.model = :model AND fires.tenant_id = :tenant_id
  AND (CAST(:after AS text) IS NULL OR fires.id < :after)
ORDER BY fires.id DESC LIMIT :limit
""")


def put_schedule(session: Session, tenant_id: str, model: str, settings: ScheduleSettings) -> ScheduleView:
    """Make or change the model's schedule.

    Raises:
        ModelNotFound
        InvalidSchedule: the expression or the time zone.
        ScheduleTaken: another tenant's schedule looks after the model.
    """
    get_model(session, model)
    check_cron(settings.cron, settings.timezone)
    values = asdict(settings) | {"calibration": settings.calibration.value}
    owner = {"id": new_id("sched"), "model": model, "tenant_id": tenant_id}
    row = session.execute(PUT, values | owner).one_or_none()
    if row is None:
        raise ScheduleTaken(model)
    return schedule_view(row)


def get_schedule(session: Session, tenant_id: str, model: str) -> ScheduleView:
    """The tenant's schedule of the model. Raises ModelNotFound, ScheduleNotFound."""
    get_model(session, model)
    row = session.execute(GET, {"model": model, "tenant_id": tenant_id}).one_or_none()
    if row is None:
        raise ScheduleNotFound(model)
    return schedule_view(row)


def delete_schedule(session: Session, tenant_id: str, model: str) -> None:
    """Look after the model no more; its nights are remembered. Raises ModelNotFound, ScheduleNotFound."""
    get_model(session, model)
    if session.execute(DELETE, {"model": model, "tenant_id": tenant_id}).first() is None:
        raise ScheduleNotFound(model)


def list_fires(
    session: Session, tenant_id: str, model: str, *, after: str | None = None, limit: int = 20
) -> Page[FireView]:
    """The model's nights of the tenant, newest first, from the one after id `after`. Raises ModelNotFound."""
    get_model(session, model)
    values = {"model": model, "tenant_id": tenant_id, "after": after, "limit": limit + 1}
    return page_of([_fire_view(row) for row in session.execute(FIRES, values)], limit)


def schedule_view(row: Row[Any]) -> ScheduleView:
    """A row of `schedules` as a value."""
    given = {name: getattr(row, name) for name in ScheduleSettings.__slots__}
    settings = ScheduleSettings(**given | {"calibration": Calibration(row.calibration)})
    return ScheduleView(
        id=row.id,
        model=row.model,
        tenant_id=row.tenant_id,
        settings=settings,
        created_at=row.created_at,
        updated_at=row.updated_at,
        looked_until=row.looked_until,
        next_fire_at=None if row.is_paused else next_fire(row.cron, row.timezone, row.looked_until),
    )


def _fire_view(row: Row[Any]) -> FireView:
    values = dict(row._mapping)
    values["decision"] = FireDecision(row.decision)
    values["status"] = None if row.status is None else JobStatus(row.status)
    values["outcome"] = None if row.outcome is None else SearchOutcome(row.outcome)
    return FireView(**values)
