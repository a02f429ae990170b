"""The heart of a node process: one thread that keeps the leases of all its shards, and hears of their end.

Leases are renewed only while the engine makes progress, so a hung device loses its shards though its node is alive.
"""

import threading
import time
from collections.abc import Callable
from enum import StrEnum

import structlog
from sqlalchemy.exc import SQLAlchemyError

from models.claim import Claim
from models.database import Database
from models.lease import Heartbeat, flags, heartbeat
from workers.meters import HEARTBEAT_FAILURES

log = structlog.get_logger(__name__)

LOOK_S = 0.6  # between two looks at the flags: a cancellation is seen within a second

Key = tuple[str, int]  # job id, shard number


class Signal(StrEnum):
    """Why a shard must not go on."""

    LOST = "lost"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


Hear = Callable[[Signal], None]


class Heart:
    """Beats every `beat_s` seconds for leases of `lease_s`; `is_alive` says whether the engine makes progress."""

    def __init__(self, database: Database, *, lease_s: float, beat_s: float, is_alive: Callable[[], bool]) -> None:
        self._database = database
        self._lease_s = lease_s
        self._beat_s = beat_s
        self._is_alive = is_alive
        self._lock = threading.Lock()
        self._held: dict[tuple[str, int, int], Hear] = {}
        self._beat_at = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)
        self._thread.start()

    def hold(self, claim: Claim, hear: Hear) -> None:
        """Keep the lease of a shard just claimed. `hear` is called by the heart's thread, maybe more than once."""
        with self._lock:
            self._held[claim.job_id, claim.number, claim.epoch] = hear

    def drop(self, claim: Claim) -> None:
        """Keep it no longer."""
        with self._lock:
            self._held.pop((claim.job_id, claim.number, claim.epoch), None)

    def close(self) -> None:
        self._closed.set()
        self._thread.join(2)

    def _run(self) -> None:
        while not self._closed.wait(LOOK_S):
            with self._lock:
                held = dict(self._held)
            if not held:
                continue
            try:
                self._tell(held, self._look(list(held)))
            except SQLAlchemyError as error:
                HEARTBEAT_FAILURES.inc()
                log.warning("heartbeat failed", shards=len(held), reason=type(error).__name__)

    def _look(self, held: list[tuple[str, int, int]]) -> Heartbeat:
        is_due = time.monotonic() - self._beat_at >= self._beat_s
        with self._database.statement() as session:
            if not (is_due and self._is_alive()):
                return flags(session, held)
            found = heartbeat(session, held, lease_s=self._lease_s)
        self._beat_at = time.monotonic()
        return found

    def _tell(self, held: dict[tuple[str, int, int], Hear], found: Heartbeat) -> None:
        told: set[Key] = set()
        # A process may hold a shard twice, once as a zombie: the loss is that of the older epoch.
        for job_id, number, epoch in sorted(held):
            key = job_id, number
            if key in found.lost and key not in told:
                told.add(key)
                held[job_id, number, epoch](Signal.LOST)
            elif key in found.cancelled:
                held[job_id, number, epoch](Signal.CANCELLED)
            elif key in found.expired:
                held[job_id, number, epoch](Signal.EXPIRED)
