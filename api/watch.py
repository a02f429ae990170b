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

log = logging.getLogger(__name__)

CHANNEL: Final = "skim_jobs"
FALLBACK_S: Final = 2.0
RECONNECT_S: Final = 1.0
PAUSE_S: Final = 0.1  # between two looks of one waiter: a busy job changes hundreds of times a second

T = TypeVar("T")


class Watcher:
    """Fans notifications out to waiters. The thread starts with the first of them (after any fork)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiters: dict[str, set[threading.Event]] = defaultdict(set)
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None

    def until(self, job_id: str, look: Callable[[], T], is_enough: Callable[[T], bool], wait_s: float) -> T:
        """Look at once and then at every news of the job, until it is enough or `wait_s` seconds have passed.

        Returns what was seen last.
        """
        deadline = time.monotonic() + wait_s
        with self._waiter(job_id) as news:
            while True:
                news.clear()  # before looking, so that nothing between look and wait is missed
                seen = look()
                left = deadline - time.monotonic()
                if is_enough(seen) or left <= 0 or self._is_closed.is_set():
                    return seen
                if news.wait(min(left, FALLBACK_S)):
                    time.sleep(min(PAUSE_S, max(0.0, deadline - time.monotonic())))

    def close(self) -> None:
        """Let every waiter go and stop the thread."""
        self._is_closed.set()
        with self._lock:
            for events in self._waiters.values():
                for event in events:
                    event.set()

    @contextmanager
    def _waiter(self, job_id: str) -> Iterator[threading.Event]:
        event = threading.Event()
        with self._lock:
            self._waiters[job_id].add(event)
            self._start()
        try:
            yield event
        finally:
            with self._lock:
                self._waiters[job_id].discard(event)
                if not self._waiters[job_id]:
                    del self._waiters[job_id]

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._is_closed.is_set():
            try:
                for job_id in self._database.listen(CHANNEL):
                    if self._is_closed.is_set():
                        return
                    if job_id is not None:
                        self._wake(job_id)
            except Exception as error:  # whatever the connection did, the thread lives and connects again
                log.warning("waiting for notifications failed: %s", type(error).__name__)
                self._is_closed.wait(RECONNECT_S)

    def _wake(self, job_id: str) -> None:
        with self._lock:
            for event in self._waiters.get(job_id, ()):
                event.set()
