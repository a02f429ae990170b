"""Copies of what was read from the database, served again only while they are known to be right.

Known how: a copy is found under its key only as long as nobody was told of a change of that key since before the copy
was read, and only while news arrives. So a change between reading and keeping is no race: the place for the copy is
taken before reading, and news takes it away again, filled or not.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from api.news import News

T = TypeVar("T")

SIZE: Final = 4096  # keys; the least recently used goes


@dataclass(slots=True, eq=False)
class _Place(Generic[T]):
    """Where a copy is, or will be once whoever holds `reading` has read it. Good until `until` (monotonic)."""

    reading: threading.Lock = field(default_factory=threading.Lock)
    copy: T | None = None
    until: float = math.inf


class Copies(Generic[T]):
    """Copies by key, each with a time it lasts at most. Many who miss the same one at once are one read."""

    def __init__(self, news: News, size: int = SIZE) -> None:
        self._news = news
        self._size = size
        self._lock = threading.Lock()
        self._places: OrderedDict[str, _Place[T]] = OrderedDict()

    def read(self, key: str, load: Callable[[], T], lasts_s: Callable[[T], float]) -> T:
        """The copy, else what `load` returns, kept for at most `lasts_s` of it. What `load` raises is not kept."""
        if not self._news.is_live():
            return load()
        place = self._place(key)
        with place.reading:
            if place.copy is None:
                began = time.monotonic()
                place.copy = self._load(key, place, load)
                place.until = began + lasts_s(place.copy)
            return place.copy

    def forget(self, key: str) -> None:
        """What was read of the key until now is not served to later requests."""
        with self._lock:
            self._places.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._places.clear()

    def _place(self, key: str) -> _Place[T]:
        with self._lock:
            place = self._places.get(key)
            if place is None or place.until <= time.monotonic():
                place = self._places[key] = _Place()
            self._places.move_to_end(key)
            return place

    def _load(self, key: str, place: _Place[T], load: Callable[[], T]) -> T:
        try:
            copy = load()
        except BaseException:
            with self._lock:
                if self._places.get(key) is place:
                    del self._places[key]
            raise
        with self._lock:  # only now: what does not exist takes nobody's place
            self._make_room()
        return copy

    def _make_room(self) -> None:
        """Let the least recently used go: of too many, and those that nobody is served any more."""
        now = time.monotonic()
        while self._places and (len(self._places) > self._size or next(iter(self._places.values())).until <= now):
            self._places.popitem(last=False)
