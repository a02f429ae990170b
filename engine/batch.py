"""Who is in the batch: admission, parking, retirement, and keeping live rows in the lowest slots.

Row i of ``rows`` holds slot i of the cache. Decoding rows come first, prefilling rows after them, so that either kind
is one contiguous view. Chooses rows; runs no network.
"""

from collections import deque
from collections.abc import Sequence
from itertools import chain

from engine.cache import SlotCache
from engine.row import Row

_SHORTEST_SHARED = 16  # tokens; a shorter common prefix costs more to copy than to compute
_MOST_AHEAD = 8  # interactive rows in turn that go before one that has no slot of its own


class Batch:
    """The live rows and those that wait."""

    def __init__(self, cache: SlotCache) -> None:
        self.rows: list[Row] = []
        self._cache = cache
        self._slots = cache.shape.slots  # fewer once memory has run out
        self._interactive: deque[Row] = deque()
        self._alone: deque[Row] = deque()
        self._bulk: deque[Row] = deque()
        self._num_ahead = 0  # interactive rows that went before who has no slot of its own, since that had a turn

    @property
    def num_waiting(self) -> int:
        return sum(map(len, self._queues))

    @property
    def _queues(self) -> tuple[deque[Row], ...]:
        return (self._interactive, self._alone, self._bulk)

    @property
    def num_decoding(self) -> int:
        return next((i for i, row in enumerate(self.rows) if row.is_prefilling), len(self.rows))

    @property
    def decoding(self) -> list[Row]:
        return self.rows[: self.num_decoding]

    @property
    def prefilling(self) -> list[Row]:
        return self.rows[self.num_decoding :]

    @property
    def is_reproducible(self) -> bool:
        return any(row.request.reproducible for row in self.rows)

    def enqueue(self, row: Row) -> None:
        if row.request.alone:
            self._alone.append(row)
        elif row.request.interactive:
            self._interactive.append(row)
        else:
            self._bulk.append(row)

    def has(self, identity: str) -> bool:
        """Whether a live or waiting row has this id."""
        return any(row.request.id == identity for row in chain(self.rows, *self._queues))

    def withdraw(self, identity: str) -> Row | None:
        """Take a waiting or live row out; None when there is none of this id."""
        for queue in self._queues:
            for row in queue:
                if row.request.id == identity:
                    queue.remove(row)
                    return row
        live = next((row for row in self.rows if row.request.id == identity), None)
        if live is not None:
            self.retire(live)
        return live

    def admit(self) -> list[Row]:
        """Give free slots to waiting rows; returns those that got one for the first time."""
        fresh = []
        while (row := self._next()) is not None:
            self._seat(row)
            if not row.was_admitted:
                row.admit()
                fresh.append(row)
        return fresh

    def _next(self) -> Row | None:
        if any(row.request.alone for row in self.rows):
            return None
        is_owed = self._num_ahead >= _MOST_AHEAD and self._is_overtaking
        if self._interactive and self._num_interactive < self._most_interactive and not is_owed:
            if len(self.rows) == self._slots and not self._park():
                return None
            self._num_ahead += self._is_overtaking
            return self._interactive.popleft()
        if self._alone:
            return None if self.rows else self._alone.popleft()
        if self._bulk and len(self.rows) < self._slots and self._num_bulk < self._most_bulk:
            return self._bulk.popleft()
        return None

    @property
    def _is_overtaking(self) -> bool:
        """Whether interactive rows that are admitted go before others that have no slot of their own."""
        return bool(self._alone) or (not self._reserved and bool(self._bulk or self._num_bulk))

    @property
    def _num_bulk(self) -> int:
        return sum(not row.request.interactive for row in self.rows)

    @property
    def _num_interactive(self) -> int:
        return len(self.rows) - self._num_bulk

    @property
    def _most_bulk(self) -> int:
        return self._slots - self._reserved

    @property
    def _most_interactive(self) -> int:
        """All slots, but for those where bulk rows go on however many interactive requests come."""
        return self._slots - (self._reserved if self._bulk or self._num_bulk else 0)

    @property
    def _reserved(self) -> int:
        """Slots that neither lane takes from the other."""
        return max(1, self._slots // 8) if self._slots > 1 else 0

    def _park(self) -> bool:
        """Free the slot of the youngest bulk row; a reproducible one is never parked (it would prefill differently)."""
        candidates = [row for row in self.rows if not (row.request.interactive or row.request.reproducible)]
        if not candidates:
            return False
        self._unseat(max(candidates, key=lambda row: row.admitted_at))
        return True

    def shrink(self) -> None:
        """Memory ran out: from now on one row less than there are, and the youngest of them waits again."""
        self._slots = len(self.rows) - 1
        self._unseat(max(self.rows, key=lambda row: row.admitted_at))

    def grow(self) -> None:
        """One row more again, as far as there are slots."""
        self._slots = min(self._slots + 1, self._cache.shape.slots)

    def _unseat(self, row: Row) -> None:
        self.retire(row)
        row.park()
        queue = self._interactive if row.request.interactive else self._alone if row.request.alone else self._bulk
        queue.appendleft(row)

    def _seat(self, row: Row) -> None:
        self._cache.seat(len(self.rows), row.request.extent)
        self.rows.append(row)
        if not row.is_prefilling:  # a prompt of one token decodes at once
            self.start(row)

    def share_prefix(self, row: Row) -> None:
        """Copy the keys of the longest prefix that a live row has in common with this one, if it has fewer itself."""
        if row.request.reproducible:
            return
        known = row.tokens[:-2]  # one token stays to be prefilled, so that the row takes its course
        here = self.rows.index(row)
        donors = [(slot, other) for slot, other in enumerate(self.rows) if self._cache.can_share(slot, here)]
        best, donor = max(((_common(known, other.tokens[: other.length]), slot) for slot, other in donors))
        if best >= row.length + _SHORTEST_SHARED:
            self._cache.copy(donor, here, best)
            row.length = best

    def will_share(self, row: Row, group: Sequence[Row]) -> bool:
        """Whether this row would be spared more by waiting for a row of the group than it has already."""
        if row.request.reproducible:
            return False
        least = row.length + _SHORTEST_SHARED
        slot = self.rows.index
        alike = [other for other in group if self._cache.can_share(slot(other), slot(row))]
        return any(_common(row.tokens[:-2], other.tokens[:-1]) >= least for other in alike)

    def start(self, row: Row) -> None:
        """Move a row whose prefill is complete behind the decoding rows."""
        here = self.rows.index(row)
        first = next((i for i, other in enumerate(self.rows) if other.is_prefilling), here)
        if first < here:
            self._cache.swap(first, here, max(row.length, self.rows[first].length))
            self.rows[first], self.rows[here] = row, self.rows[first]

    def retire(self, row: Row) -> None:
        """Take a row out and close the gap with at most two copies."""
        if row.request.alone or not row.request.interactive:
            self._num_ahead = 0
        here = self.rows.index(row)
        decoding = self.num_decoding
        if here < decoding:
            self._fill(here, decoding - 1)
            here = decoding - 1
        self._fill(here, len(self.rows) - 1)
        self.rows.pop()

    def _fill(self, hole: int, source: int) -> None:
        if hole != source:
            self._cache.copy(source, hole, self.rows[source].length)
            self.rows[hole] = self.rows[source]


def _common(first: list[int], second: list[int]) -> int:
    """Length of the common prefix."""
    most = min(len(first), len(second))
    if first[:most] == second[:most]:
        return most
    return next(i for i in range(most) if first[i] != second[i])
