"""Fire times of a cron expression in a time zone, as Debian's cron has them.

A local time that the clock skips fires at the moment of the skip, one that occurs twice fires the first time only;
expressions whose minute or hour begins with a star run on through both.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from models.errors import InvalidSchedule

NUM_FIELDS: Final = 5  # a sixth would be seconds
SHORTEST: Final = timedelta(hours=1)
NUM_LOOKED_AT: Final = 48  # fire times, to see how often it fires
# Iteration starts that much earlier than what is wanted: begun inside a doubled hour it would lose its place.
LEAD: Final = timedelta(days=2)
SOME_DAY: Final = datetime(2024, 1, 1, tzinfo=UTC)


def check_cron(cron: str, timezone: str) -> None:
    """Raise InvalidSchedule, which names the field, for what never fires, fires too often or is no time zone."""
    _zone(timezone)
    if len(cron.split()) != NUM_FIELDS:
        raise InvalidSchedule("cron", "must have five fields: minute, hour, day of month, month, day of week")
    try:
        fires = list(islice(CronSim(cron, SOME_DAY), NUM_LOOKED_AT))
    except CronSimError as error:
        raise InvalidSchedule("cron", str(error).lower()) from error
    if not fires:
        raise InvalidSchedule("cron", "never fires")
    if any(later - earlier < SHORTEST for earlier, later in pairwise(fires)):
        raise InvalidSchedule("cron", "may not fire more often than once an hour")


def fires_between(cron: str, timezone: str, after: datetime, until: datetime) -> list[datetime]:
    """Fire times later than `after` and not later than `until`, in order, in UTC."""
    return list(takewhile(lambda time: time <= until, _fires(cron, timezone, after)))


def next_fire(cron: str, timezone: str, after: datetime) -> datetime | None:
    """The first fire time later than `after`, in UTC; None when there is none within decades."""
    return next(_fires(cron, timezone, after), None)


def _fires(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    times = CronSim(cron, (after - LEAD).astimezone(_zone(timezone)))
    return (utc for time in times if (utc := time.astimezone(UTC)) > after)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidSchedule("timezone", f"no such time zone: {name}") from error
