"""News of jobs: one LISTEN connection and one thread per process wake whoever waits for a job.

A waiter holds no database session. Notifications are hints: while the connection is down waiters still look every
`FALLBACK_S`, so nothing depends on one arriving.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from models.database import Database
from models.notify import CHANNEL, OVER

log = logging.getLogger(__name__)

FALLBACK_S: Final = 2.0
RECONNECT_S: Final = 1.0
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
    """Fans notifications out to waiters. The thread starts with the first of them (after any fork)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiters: dict[str, set[_Waiter]] = defaultdict(set)
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    def until(self, job_id: str, look: Callable[[], T], is_enough: Callable[[T], bool], wait_s: float) -> T:
        """Look at once and then at every news of the job, until it is enough or `wait_s` seconds have passed.

        Returns what was seen last.
        """
        deadline = time.monotonic() + wait_s
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
        """Let every waiter go and stop the thread."""
        self._is_closed.set()
        with self._lock:
            for waiters in self._waiters.values():
                for waiter in waiters:
                    waiter.wake(is_over=True)

    @contextmanager
    def _waiter(self, job_id: str) -> Iterator[_Waiter]:
        waiter = _Waiter()
        with self._lock:
            self._waiters[job_id].add(waiter)
            self._start()
        try:
            yield waiter
        finally:
            with self._lock:
                self._waiters[job_id].discard(waiter)
                if not self._waiters[job_id]:
                    del self._waiters[job_id]

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._is_closed.is_set():
            try:
                for payload in self._database.listen(CHANNEL):
                    if self._is_closed.is_set():
                        return
                    if payload is not None:
                        self._wake(payload.removesuffix(OVER), payload.endswith(OVER))
            except Exception as error:  # whatever the connection did, the thread lives and connects again
                log.warning("waiting for notifications failed: %s", type(error).__name__)
                self._is_closed.wait(RECONNECT_S)

    def _wake(self, job_id: str, is_over: bool) -> None:
        with self._lock:
            for waiter in self._waiters.get(job_id, ()):
                waiter.wake(is_over)
