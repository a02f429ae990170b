"""Beat counts seconds by the monotonic clock, whatever the time of day."""

from types import SimpleNamespace

import pytest
from celery import Celery
from celery.beat import ScheduleEntry
from celery.utils.imports import symbol_by_name

from workers.app import app
from workers.beat import SteadyScheduler


class Recording(SteadyScheduler):
    """Notes what it would send, and when."""

    now = 1e6

    def apply_entry(self, entry: ScheduleEntry, producer: object = None) -> None:
        self.sent.append((entry.name, self.now))

    def setup_schedule(self) -> None:
        super().setup_schedule()
        self.sent: list[tuple[str, float]] = []

    @property
    def producer(self) -> None:
        """There is no broker."""


@pytest.mark.parametrize("year", [1970, 2100])
def test_entries_have_their_turns(monkeypatch: pytest.MonkeyPatch, year: int) -> None:
    quiet = Celery(set_as_current=False)
    quiet.conf.beat_schedule = {
        "often": {"task": "a", "schedule": 2.0},
        "seldom": {"task": "b", "schedule": 30.0},
    }
    beat = Recording(quiet)
    monkeypatch.setattr("workers.beat.time", SimpleNamespace(monotonic=lambda: beat.now))
    end_at = beat.now + 61
    while beat.now < end_at:
        if beat.now > end_at - 31:
            # From here on the time of day is another one.
            monkeypatch.setattr(ScheduleEntry, "default_now", lambda _: quiet.now().replace(year=year))
        beat.now += beat.tick() + 1e-3

    times = {name: [at for sent, at in beat.sent if sent == name] for name in ("often", "seldom")}
    assert len(times["often"]) in (30, 31)
    assert len(times["seldom"]) == 2
    assert all(1.9 < second - first < 2.1 for first, second in zip(times["often"], times["often"][1:], strict=False))


def test_the_application_asks_for_it() -> None:
    assert symbol_by_name(app.Beat().scheduler_cls) is SteadyScheduler
