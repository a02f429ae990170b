"""Fire times: whatever the clocks do, once a night; bad expressions and zones are refused by name."""

from datetime import UTC, datetime, timedelta

import pytest

from models.cron import check_cron, fires_between, next_fire
from models.errors import InvalidSchedule

BERLIN = "Europe/Berlin"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(cron: str, after: str, until: str, timezone: str = BERLIN) -> list[str]:
    return [f"{time:%d %H:%M}" for time in fires_between(cron, timezone, utc(after), utc(until))]


def test_a_night_in_a_time_zone() -> None:
    assert fires("30 2 * * *", "2026-07-01", "2026-07-03 12:00") == ["01 00:30", "02 00:30", "03 00:30"]
    assert fires("30 2 * * *", "2026-01-01", "2026-01-02 12:00") == ["01 01:30", "02 01:30"]
    assert fires("0 3 * * SUN", "2026-07-01", "2026-07-15", "America/New_York") == ["05 07:00", "12 07:00"]


def test_a_local_time_that_does_not_exist_fires_when_the_clock_has_skipped_it() -> None:
    # 29 March 2026, Berlin: 02:00 CET is 03:00 CEST, at 01:00 UTC
    assert fires("30 2 * * *", "2026-03-28 00:00", "2026-03-30 12:00") == ["28 01:30", "29 01:00", "30 00:30"]


def test_a_local_time_that_occurs_twice_fires_once() -> None:
    # 25 October 2026, Berlin: 03:00 CEST is 02:00 CET, at 01:00 UTC
    assert fires("30 2 * * *", "2026-10-24 12:00", "2026-10-26 12:00") == ["25 00:30", "26 01:30"]


@pytest.mark.parametrize("minute", range(0, 180, 7))
def test_wherever_a_look_falls_in_a_doubled_hour_no_fire_is_seen_twice_or_missed(minute: int) -> None:
    begin, end = utc("2026-10-24 23:00"), utc("2026-10-25 04:00")
    middle = begin + timedelta(minutes=minute)
    halves = [
        *fires_between("30 2 * * *", BERLIN, begin, middle),
        *fires_between("30 2 * * *", BERLIN, middle, end),
    ]

    assert halves == [utc("2026-10-25 00:30")]


def test_an_hourly_schedule_runs_on_through_both() -> None:
    assert fires("15 * * * *", "2026-10-24 23:00", "2026-10-25 03:00") == [
        "24 23:15",
        "25 00:15",
        "25 01:15",
        "25 02:15",
    ]
    assert fires("15 * * * *", "2026-03-28 23:30", "2026-03-29 02:30") == ["29 00:15", "29 01:15", "29 02:15"]


def test_both_ends() -> None:
    assert fires("0 0 * * *", "2026-07-01 00:00", "2026-07-02 00:00", "UTC") == ["02 00:00"]
    assert next_fire("0 0 29 2 *", "UTC", utc("2026-07-01")) == utc("2028-02-29")


@pytest.mark.parametrize("cron", ["30 2 * * *", "0 1 1 * *", "0 3 * * MON-FRI", "0 */6 * * *", "0 0 29 2 *"])
def test_a_good_expression(cron: str) -> None:
    check_cron(cron, BERLIN)


@pytest.mark.parametrize(
    ("cron", "timezone", "field"),
    [
        ("", "UTC", "cron"),
        ("* * * *", "UTC", "cron"),
        ("0 0 2 * * *", "UTC", "cron"),
        ("@daily", "UTC", "cron"),
        ("60 2 * * *", "UTC", "cron"),
        ("a 2 * * *", "UTC", "cron"),
        ("0 0 31 2 *", "UTC", "cron"),
        ("*/30 * * * *", "UTC", "cron"),
        ("0,59 2 * * *", "UTC", "cron"),
        ("0 2 * * *", "Europe/Atlantis", "timezone"),
        ("0 2 * * *", "", "timezone"),
        ("0 2 * * *", "../../etc/passwd", "timezone"),
        ("0 2 * * *", "Europe", "timezone"),
    ],
)
def test_a_bad_one_is_refused_by_field(cron: str, timezone: str, field: str) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        check_cron(cron, timezone)

    assert caught.value.field == field
