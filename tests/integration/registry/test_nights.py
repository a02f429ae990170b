"""Nights under a clock of our own: what opens a search, what does not, and that nobody looks twice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from models.catalog import add_model
from models.errors import InvalidSchedule, ModelNotFound, ScheduleNotFound, ScheduleTaken
from models.fleet import announce
from models.nights import Night, pass_nights
from models.schedules import delete_schedule, get_schedule, list_fires, put_schedule
from models.settle import settle_search
from models.states import FireDecision
from tests.integration.registry.conftest import MODEL, TENANT, Registry, at_once, model
from tests.integration.registry.test_jobs import beat
from tests.integration.registry.test_searches import PROMOTED, activated, write
from tests.tools.nightly import SCHEDULE

BEGIN = datetime(2030, 7, 1, 12, tzinfo=UTC)
FIRST = datetime(2030, 7, 2, 0, 30, tzinfo=UTC)  # 02:30 in Berlin
DAY = timedelta(days=1)


@pytest.fixture
def watched(registry: Registry) -> Registry:
    """The registry with a schedule that begins to count at `BEGIN`, and a worker that can skip."""
    put(registry)
    ready(registry, "w_a")
    return registry


def put(registry: Registry, **changes: Any) -> None:
    with registry.database.session() as session:
        put_schedule(session, TENANT, MODEL, replace(SCHEDULE, **changes))
    registry.rows("UPDATE schedules SET looked_until = :begin", begin=BEGIN)


def ready(registry: Registry, worker_id: str, device_kind: str = "cpu", drafters: tuple[str, ...] = ("skip",)) -> None:
    with registry.database.session() as session:
        announce(session, replace(beat(worker_id), device_kind=device_kind, drafters=drafters, status="ready"))


def look(registry: Registry, now: datetime) -> list[Night]:
    with registry.database.session() as session:
        return pass_nights(session, now=now)


def reasons(registry: Registry, now: datetime) -> list[str]:
    return [night.reason for night in look(registry, now)]


def complete(registry: Registry, night: Night, at: datetime) -> None:
    """Let the night's search find something, at a time of our own."""
    assert night.job_id is not None
    claimed = registry.hold(night.job_id)
    write(registry, claimed, settle_search, PROMOTED)
    registry.complete(claimed)
    registry.rows("UPDATE searches SET settled_at = :at WHERE job_id = :id", at=at, id=night.job_id)


def test_a_night_opens_a_search_of_the_schedules_tenant(watched: Registry) -> None:
    assert look(watched, FIRST - timedelta(seconds=1)) == []
    (night,) = look(watched, FIRST + timedelta(seconds=20))
    assert look(watched, FIRST + timedelta(seconds=50)) == []

    assert (night.decision, night.reason, night.num_missed) == (FireDecision.OPENED, "never_searched", 0)
    assert night.job_id is not None
    job = watched.view(night.job_id)
    assert job.search is not None
    assert (job.search.max_trials, job.search.max_seconds, job.search.device_kind) == (40, 600.0, "cpu")
    assert job.metadata["reason"] == "never_searched"
    assert job.expires_at is not None
    assert job.expires_at - job.created_at == timedelta(hours=4, seconds=-20)  # done by the end of the window


def test_a_search_stops_looking_early_enough_to_end_in_its_window(watched: Registry) -> None:
    put(watched, max_seconds=None)
    look(watched, FIRST + timedelta(hours=3))

    assert watched.rows("SELECT max_seconds FROM searches") == [(1800.0,)]


def test_two_beats_open_one_search(watched: Registry) -> None:
    answers = at_once(*(partial(look, watched, FIRST) for _ in range(4)))

    assert sorted(len(nights) for nights in answers) == [0, 0, 0, 1]
    assert watched.rows("SELECT count(*) FROM fires") == [(1,)]
    assert watched.rows("SELECT count(*) FROM jobs") == [(1,)]


def test_after_two_nights_without_a_beat_the_latest_is_made_up_for_once(watched: Registry) -> None:
    nights = look(watched, FIRST + 2 * DAY + timedelta(hours=1))

    assert [(night.fire_time, night.num_missed, night.reason) for night in nights] == [
        (FIRST + 2 * DAY, 2, "never_searched")
    ]
    assert look(watched, FIRST + 2 * DAY + timedelta(hours=2)) == []


def test_what_is_missed_beyond_its_window_is_not_made_up_for(watched: Registry) -> None:
    assert reasons(watched, FIRST + timedelta(hours=4)) == ["window_passed"]
    assert reasons(watched, FIRST + DAY) == ["never_searched"]


@pytest.mark.parametrize(
    ("begin", "fire_time"),
    [
        (datetime(2030, 3, 30, 12, tzinfo=UTC), datetime(2030, 3, 31, 1, 0, tzinfo=UTC)),  # 02:30 does not exist
        (datetime(2030, 10, 26, 12, tzinfo=UTC), datetime(2030, 10, 27, 0, 30, tzinfo=UTC)),  # 02:30 comes twice
    ],
)
def test_a_night_in_which_the_clocks_change_is_one_night(
    watched: Registry, begin: datetime, fire_time: datetime
) -> None:
    watched.rows("UPDATE schedules SET looked_until = :begin", begin=begin)
    seen = [
        night.fire_time for minute in range(0, 16 * 60, 15) for night in look(watched, begin + minute * DAY / (24 * 60))
    ]

    assert seen == [fire_time]


def test_a_model_is_searched_again_when_it_needs_it_and_not_before(watched: Registry) -> None:
    (night,) = look(watched, FIRST)
    complete(watched, night, FIRST)
    assert reasons(watched, FIRST + 7 * DAY) == ["fresh"]
    (night,) = look(watched, FIRST + 8 * DAY)
    assert night.reason == "old"
    complete(watched, night, FIRST + 8 * DAY)

    watched.rows("UPDATE skip_sets SET stale_since = now() WHERE is_active")
    (night,) = look(watched, FIRST + 9 * DAY)
    assert night.reason == "drifted"
    complete(watched, night, FIRST + 9 * DAY)

    watched.rows("UPDATE models SET revision = 'r2'")
    (night,) = look(watched, FIRST + 10 * DAY)
    assert night.reason == "new_revision"
    complete(watched, night, FIRST + 10 * DAY)

    ready(watched, "w_b", "cuda")
    (night,) = look(watched, FIRST + 11 * DAY)
    assert night.reason == "new_device"
    assert watched.rows("SELECT device_kind FROM searches WHERE job_id = :id", id=night.job_id) == [("cuda",)]


def test_the_most_urgent_device_kind_comes_first(watched: Registry) -> None:
    ready(watched, "w_b", "cuda")
    stale = activated(watched)
    watched.rows("UPDATE skip_sets SET stale_since = now() WHERE id = :id", id=stale)

    assert [(night.reason, night.detail.split()[2]) for night in look(watched, FIRST)] == [("drifted", stale)]


def test_a_night_without_a_worker_that_can_skip_waits_for_the_next(registry: Registry) -> None:
    put(registry)
    assert reasons(registry, FIRST) == ["no_worker"]
    ready(registry, "w_a", drafters=("plain", "lookup"))
    assert reasons(registry, FIRST + DAY) == ["no_worker"]


def test_a_search_that_still_runs_is_not_joined_by_another(watched: Registry) -> None:
    (opened,) = look(watched, FIRST)
    (skipped,) = look(watched, FIRST + DAY)

    assert (skipped.reason, skipped.job_id) == ("search_open", None)
    assert opened.job_id is not None
    assert opened.job_id in skipped.detail


def test_a_quota_is_no_reason_to_fail(watched: Registry) -> None:
    watched.rows("UPDATE tenants SET max_open_jobs = 0")
    assert reasons(watched, FIRST) == ["quota"]


def test_a_paused_schedule_has_no_nights_and_none_to_make_up_for(watched: Registry) -> None:
    put(watched, is_paused=True)
    assert look(watched, FIRST) == []
    with watched.database.session() as session:
        assert get_schedule(session, TENANT, MODEL).next_fire_at is None
        resumed = put_schedule(session, TENANT, MODEL, SCHEDULE)
    assert resumed.looked_until > datetime.now(UTC) - timedelta(minutes=1)


def test_a_time_zone_that_is_gone_pauses_its_schedule_and_no_other(watched: Registry) -> None:
    with watched.database.session() as session:
        add_model(session, model("other"))
        put_schedule(session, TENANT, "other", SCHEDULE)
    watched.rows("UPDATE schedules SET looked_until = :begin", begin=BEGIN)
    watched.rows("UPDATE schedules SET timezone = 'Europe/Atlantis' WHERE model = :model", model=MODEL)

    assert sorted(reasons(watched, FIRST)) == ["invalid_schedule", "no_worker"]
    assert look(watched, FIRST + timedelta(minutes=1)) == []
    assert watched.rows("SELECT model FROM schedules WHERE is_paused") == [(MODEL,)]


def test_history_tells_what_each_night_came_to(watched: Registry) -> None:
    (night,) = look(watched, FIRST)
    complete(watched, night, FIRST)
    look(watched, FIRST + DAY)
    with watched.database.session() as session:
        delete_schedule(session, TENANT, MODEL)
        page = list_fires(session, TENANT, MODEL, limit=1)
        rest = list_fires(session, TENANT, MODEL, after=page.data[0].id)
        assert list_fires(session, "ten_b", MODEL).data == ()

    fresh, promoted = (*page.data, *rest.data)
    assert (fresh.reason, fresh.outcome, fresh.job_id) == ("fresh", None, None)
    assert (promoted.reason, promoted.outcome, promoted.is_promoted) == ("never_searched", "promoted", True)


def test_changing_the_budget_loses_no_night(watched: Registry) -> None:
    with watched.database.session() as session:
        same = put_schedule(session, TENANT, MODEL, replace(SCHEDULE, max_trials=9))
        assert (same.looked_until, same.next_fire_at) == (BEGIN, FIRST)
        other = put_schedule(session, TENANT, MODEL, replace(SCHEDULE, cron="0 4 * * *"))
    assert other.looked_until != BEGIN


def test_a_schedule_is_its_tenants(watched: Registry) -> None:
    with watched.database.session() as session:
        for call in (get_schedule, delete_schedule):
            with pytest.raises(ScheduleNotFound):
                call(session, "ten_b", MODEL)
            with pytest.raises(ModelNotFound):
                call(session, TENANT, "nobody")
        with pytest.raises(ScheduleTaken):
            put_schedule(session, "ten_b", MODEL, SCHEDULE)
        with pytest.raises(InvalidSchedule):
            put_schedule(session, TENANT, MODEL, replace(SCHEDULE, timezone="Mars/Base"))
        delete_schedule(session, TENANT, MODEL)
        assert put_schedule(session, "ten_b", MODEL, SCHEDULE).tenant_id == "ten_b"
