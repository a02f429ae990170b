"""Beat by a clock that nobody sets.

Celery's own scheduler compares times of day: where the clock is set back by an hour, it sends nothing for an hour, and
the sweep is what everything recovers by.
"""

import time
from typing import Any

from celery.beat import ScheduleEntry, Scheduler


class SteadyScheduler(Scheduler):  # type: ignore[misc]  # Celery has no types
    """For entries that repeat every so many seconds, counted from when beat started; keeps no file."""

    def _when(self, entry: ScheduleEntry, next_time_to_run: float, mktime: Any = None) -> float:
        """The place in the queue of entries: when this one has its turn, by the monotonic clock."""
        return time.monotonic() + (self.adjust(next_time_to_run) or 0)

    def is_due(self, entry: ScheduleEntry) -> tuple[bool, float]:
        """Asked of the entry whose turn has come: it is due, and again after its interval."""
        return True, entry.schedule.run_every.total_seconds()
