"""What is done while somebody waits: whatever has ended is started again, and what is due is done."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import redis
from sqlalchemy.exc import DBAPIError

from tests.faults.parts import Part

PATIENCE_S = 60.0


class Watch:
    """Parts that are kept running by `tend`: everybody who waits does it here."""

    def __init__(self, parts: dict[str, Part]) -> None:
        self.parts = parts
        self._later: list[tuple[float, Callable[[], None]]] = []

    def tend(self) -> None:
        """Start again what has ended, do what is due."""
        now = time.monotonic()
        due = [action for at, action in self._later if at <= now]
        self._later = [(at, action) for at, action in self._later if at > now]
        for action in due:
            action()
        for part in self.parts.values():
            part.tend()

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + delay_s, action))

    def settle(self) -> None:
        """Wait until nothing is to be done later."""
        self.until(lambda: not self._later)

    def pause(self, duration_s: float) -> None:
        end_at = time.monotonic() + duration_s
        self.until(lambda: time.monotonic() >= end_at, duration_s + PATIENCE_S)

    def until(self, is_so: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
        """Wait until something is so. A server that is away has not said so."""
        give_up_at = time.monotonic() + patience_s
        while not self.holds(is_so):
            assert time.monotonic() < give_up_at, f"not so after {patience_s} s"
            self.tend()
            time.sleep(0.02)

    def holds(self, is_so: Callable[[], Any]) -> bool:
        """Whether something is so, as far as can be seen now."""
        try:
            return bool(is_so())
        except (DBAPIError, httpx.TransportError, redis.RedisError, OSError):
            return False
