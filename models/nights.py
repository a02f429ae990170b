"""Nights: what happens at the fire times of schedules. Any number of beats may ask; each fire time is dealt with once.

Whoever was away for several fire times deals with the latest only. A search opens if the model needs one, a worker can
do it, none is open and the window still is; whatever is decided is written down with its reason.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from models.catalog import ModelView, get_model
from models.cron import fires_between
from models.errors import InvalidSchedule, QuotaExceeded, SearchOpen
from models.ids import new_id
from models.need import Need, Reason, needed, searchable_kinds
from models.opening import NewSearch, open_search
from models.schedules import ScheduleView, schedule_view
from models.states import FireDecision, JobKind, Lane
from models.submit import NewJob


@dataclass(frozen=True, slots=True)
class Night:
    """A fire time that was dealt with; `job_id` of the search that it opened."""

    model: str
    fire_time: datetime
    decision: FireDecision
    reason: str
    detail: str
    num_missed: int
    job_id: str | None = None


class _Refusal(Exception):
    """Why no search is opened."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


# Of what is left of the window, for looking: one that runs into its end has no verdict, and the device may be shared.
SHARE: Final = 0.5

CLOCK: Final = text("SELECT statement_timestamp()")

# Locked while they are dealt with; those that another beat has locked are its own to deal with.
WAITING: Final = text("""
SELECT * FROM schedules WHERE NOT is_paused AND looked_until < :now ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
""")

WRITE: Final = text("""
INSERT INTO fires (id, schedule_id, model, tenant_id, fire_time, at, decision, reason, detail, num_missed, job_id)
VALUES (:id, :schedule_id, :model, :tenant_id, :fire_time, :at, :decision, :reason, :detail, :num_missed, :job_id)
""")

SEEN: Final = text("SELECT EXISTS (SELECT FROM fires WHERE schedule_id = :schedule_id AND fire_time = :fire_time)")

LOOKED: Final = text("UPDATE schedules SET looked_until = :fire_time WHERE id = :schedule_id")

PAUSE: Final = text("UPDATE schedules SET is_paused = TRUE WHERE id = :schedule_id")


def pass_nights(session: Session, *, now: datetime | None = None) -> list[Night]:
    """Deal with every fire time up to `now`, the database's clock when left out."""
    moment: datetime = now or session.execute(CLOCK).scalar_one()
    found = [_pass_or_pause(session, row, moment) for row in session.execute(WAITING, {"now": moment}).all()]
    return [night for night in found if night is not None]


def _pass_or_pause(session: Session, row: Row[Any], now: datetime) -> Night | None:
    """A schedule that was good once, as before its time zone was renamed, is paused and says so; others go on."""
    try:
        return _pass(session, schedule_view(row), now)
    except InvalidSchedule as error:
        session.execute(PAUSE, {"schedule_id": row.id})
        night = Night(row.model, now, FireDecision.SKIPPED, "invalid_schedule", str(error), 0)
        _write(session, row.id, row.tenant_id, night, now)
        return night


def _pass(session: Session, schedule: ScheduleView, now: datetime) -> Night | None:
    settings = schedule.settings
    due = fires_between(settings.cron, settings.timezone, schedule.looked_until, now)
    if not due:
        return None
    fire = {"schedule_id": schedule.id, "fire_time": due[-1]}
    session.execute(LOOKED, fire)
    if session.execute(SEEN, fire).scalar_one():
        return None
    night = _decide(session, schedule, due, now)
    _write(session, schedule.id, schedule.tenant_id, night, now)
    return night


def _write(session: Session, schedule_id: str, tenant_id: str, night: Night, now: datetime) -> None:
    told = {name: getattr(night, name) for name in Night.__slots__} | {"decision": night.decision.value}
    session.execute(WRITE, told | {"id": new_id("fire"), "schedule_id": schedule_id, "tenant_id": tenant_id, "at": now})


def _decide(session: Session, schedule: ScheduleView, due: list[datetime], now: datetime) -> Night:
    model, fire_time, num_missed = schedule.model, due[-1], len(due) - 1
    try:
        need, job_id = _open(session, schedule, fire_time, now)
    except _Refusal as error:
        return Night(model, fire_time, FireDecision.SKIPPED, error.reason, error.detail, num_missed)
    return Night(model, fire_time, FireDecision.OPENED, need.reason.value, need.detail, num_missed, job_id)


def _open(session: Session, schedule: ScheduleView, fire_time: datetime, now: datetime) -> tuple[Need, str]:
    settings = schedule.settings
    left_s = (fire_time + timedelta(seconds=settings.window_s) - now).total_seconds()
    if left_s <= 0:
        raise _Refusal("window_passed", f"nobody looked until {now:%Y-%m-%d %H:%M} UTC, after the window had closed")
    need = _most_urgent(session, get_model(session, schedule.model), schedule, now)
    new_job = NewJob(
        tenant_id=schedule.tenant_id,
        kind=JobKind.SEARCH,
        model=schedule.model,
        lane=Lane.SEARCH,
        metadata={"schedule": schedule.id, "reason": need.reason.value},
        deadline_s=left_s,
    )
    new = NewSearch(
        device_kind=need.device_kind,
        batch_class=settings.batch_class,
        sampler=settings.sampler,
        max_trials=settings.max_trials,
        max_seconds=min(settings.max_seconds or left_s, left_s * SHARE),
        promotes=settings.promotes,
        seed=secrets.randbits(63),
        calibration=settings.calibration,
    )
    try:
        with session.begin_nested():
            return need, open_search(session, new_job, new).job_id
    except SearchOpen as error:
        raise _Refusal("search_open", str(error)) from error
    except QuotaExceeded as error:
        raise _Refusal("quota", str(error)) from error


def _most_urgent(session: Session, model: ModelView, schedule: ScheduleView, now: datetime) -> Need:
    settings = schedule.settings
    kinds = searchable_kinds(session, model.name)
    if not kinds:
        raise _Refusal("no_worker", f"no ready worker can draft {model.name} by skipping")
    needs = [
        needed(session, model, kind, settings.batch_class, max_age_days=settings.max_age_days, now=now)
        for kind in kinds
    ]
    urgent = sorted((need for need in needs if need is not None), key=lambda need: list(Reason).index(need.reason))
    if not urgent:
        raise _Refusal("fresh", "nothing has drifted, and the last search is recent")
    return urgent[0]
