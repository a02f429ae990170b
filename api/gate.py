"""A cap on requests that hold a thread for long, so that short ones always find one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """At most `num_places` long polls and streams, or long bodies, at once; nobody queues for a place."""

    def __init__(self, num_places: int) -> None:
        self._places = threading.BoundedSemaphore(num_places)

    def try_enter(self) -> bool:
        """Take a place if there is one; whoever got it calls `leave` once."""
        return self._places.acquire(blocking=False)

    def leave(self) -> None:
        """Give the place back."""
        self._places.release()

    @contextmanager
    def entered(self) -> Iterator[bool]:
        """Hold a place for the block; yields False where there was none."""
        is_in = self.try_enter()
        try:
            yield is_in
        finally:
            if is_in:
                self.leave()
