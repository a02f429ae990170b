"""Waiting for news of a job.

A waiter holds no database session. News is a hint: waiters look every `FALLBACK_S` in any case, so nothing depends on
a notification arriving.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from api.news import News, Subscriber
from models.notify import Change

FALLBACK_S: Final = 2.0
PAUSE_S: Final = 1.0  # between two looks of one waiter at a job that goes on: a busy one changes all the time

T = TypeVar("T")


class _Waiter:
    """One request that waits: `news` of any kind, and that the job is `over`, which nothing holds back."""

    def __init__(self) -> None:
        self.news = threading.Event()
        self.over = threading.Event()

    def wake(self, is_over: bool) -> None:
        if is_over:
            self.over.set()
        self.news.set()


class Watcher:
    """Wakes whoever waits for a job. Subscribed after the copies of jobs: a woken waiter must not find an old one."""

    def __init__(self, news: News) -> None:
        self._news = news
        self._lock = threading.Lock()
        self._waiters: dict[str, set[_Waiter]] = defaultdict(set)
        self._is_closed = threading.Event()
        news.subscribe(Subscriber(self._wake, lambda: self._wake_all(is_over=False)))

    def until(self, job_id: str, look: Callable[[], T], is_enough: Callable[[T], bool], wait_s: float) -> T:
        """Look at once and then at every news of the job, until it is enough or `wait_s` seconds have passed.

        Returns what was seen last.
        """
        deadline = time.monotonic() + wait_s
        self._news.is_live()  # or is from now on
        with self._waiter(job_id) as waiter:
            while True:
                waiter.news.clear()  # before looking, so that nothing between look and wait is missed
                seen = look()
                left = deadline - time.monotonic()
                if is_enough(seen) or left <= 0 or self._is_closed.is_set():
                    return seen
                if waiter.news.wait(min(left, FALLBACK_S)):
                    waiter.over.wait(min(PAUSE_S, max(0.0, deadline - time.monotonic())))

    @property
    def is_closed(self) -> bool:
        """Whether waiting has been given up because the process stops."""
        return self._is_closed.is_set()

    def close(self) -> None:
        """Let every waiter go, now and later, and listen no more."""
        self._is_closed.set()
        self._news.close()
        self._wake_all(is_over=True)

    @contextmanager
    def _waiter(self, job_id: str) -> Iterator[_Waiter]:
        waiter = _Waiter()
        with self._lock:
            self._waiters[job_id].add(waiter)
        try:
            yield waiter
        finally:
            with self._lock:
                self._waiters[job_id].discard(waiter)
                if not self._waiters[job_id]:
                    del self._waiters[job_id]

    def _wake(self, job_id: str, change: Change) -> None:
        with self._lock:
            for waiter in self._waiters.get(job_id, ()):
                waiter.wake(is_over=change is Change.OVER)

    def _wake_all(self, is_over: bool) -> None:
        with self._lock:
            for waiters in self._waiters.values():
                for waiter in waiters:
                    waiter.wake(is_over)
