"""What changed, as heard from PostgreSQL: one LISTEN connection and one thread per process tell all who subscribed.

What this process changed itself is told in the thread that changed it, before its request is answered.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from models.database import Database
from models.notify import CHANNEL, Change, parse

log = logging.getLogger(__name__)

RECONNECT_S: Final = 1.0
QUIET_S: Final = 3.0  # without an answer of the server to the listener the connection counts as lost


@dataclass(frozen=True, slots=True)
class Subscriber:
    """`hear` gets whom news is of (a job's id, or `KEYS`) and what happened; `reset` is told that some may be missed.

    Both are called by any thread and must be quick.
    """

    hear: Callable[[str, Change], None]
    reset: Callable[[], None]


class News:
    """Fans notifications out to subscribers. The thread starts with the first question whether it is live."""

    def __init__(self, database: Database) -> None:
        database.on_news = self._tell
        self._database = database
        self._subscribers: list[Subscriber] = []
        self._starting = threading.Lock()
        self._is_closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._heard_at = -math.inf

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell one more from now on; all subscribe before the first request."""
        self._subscribers.append(subscriber)

    def is_live(self) -> bool:
        """Whether what PostgreSQL notifies arrives here: it answered the listener within `QUIET_S`.

        Whoever finds it so has been told of every change that was committed more than that ago, most of them at once.
        """
        if self._thread is None or not self._thread.is_alive():
            self._start()
        return time.monotonic() - self._heard_at < QUIET_S

    def close(self) -> None:
        """Listen no more."""
        self._is_closed.set()

    def _start(self) -> None:
        with self._starting:
            if not self._is_closed.is_set() and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self._run, name="news", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._is_closed.is_set():
            try:
                self._listen()
            except Exception as error:  # whatever the connection did, the thread lives and connects again
                log.warning("waiting for notifications failed: %s", type(error).__name__)
            self._heard_at = -math.inf
            self._is_closed.wait(RECONNECT_S)

    def _listen(self) -> None:
        """Until the connection breaks. Subscribers are reset when it has begun and before it counts as live."""
        is_new = True
        for payload in self._database.listen(CHANNEL):
            if self._is_closed.is_set():
                return
            if payload is not None:
                self._tell(payload)
                continue
            if is_new:
                for one in self._subscribers:
                    one.reset()
            is_new, self._heard_at = False, time.monotonic()

    def _tell(self, payload: str) -> None:
        subject, change = parse(payload)
        for one in self._subscribers:
            one.hear(subject, change)
