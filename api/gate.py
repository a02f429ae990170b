"""A cap on requests that hold a thread for long, so that short ones always find one, and of each tenant on its part."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """At most `num_places` long polls and streams, or long bodies, at once; nobody queues for a place.

    One tenant has at most three quarters of them, rounded up, and leaves at least one: whatever it does, others get in.
    A single place is for all in turn.
    """

    def __init__(self, num_places: int) -> None:
        self._num_places = num_places
        self._num_each = max(1, min(-(-3 * num_places // 4), num_places - 1))
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    def try_enter(self, tenant_id: str) -> bool:
        """Take a place if there is one for the tenant; whoever got it calls `leave` once."""
        with self._lock:
            if self._held.total() >= self._num_places or self._held[tenant_id] >= self._num_each:
                return False
            self._held[tenant_id] += 1
            return True

    def leave(self, tenant_id: str) -> None:
        """Give a place of the tenant back."""
        with self._lock:
            self._held[tenant_id] -= 1
            if self._held[tenant_id] == 0:
                del self._held[tenant_id]

    @contextmanager
    def entered(self, tenant_id: str) -> Iterator[bool]:
        """Hold a place for the block; yields False where there was none."""
        is_in = self.try_enter(tenant_id)
        try:
            yield is_in
        finally:
            if is_in:
                self.leave(tenant_id)
