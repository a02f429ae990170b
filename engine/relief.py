"""What gives way when memory runs out in a pass, in which order, and how it comes back."""

from collections.abc import Callable, Sequence
from typing import Final

from engine.batch import Batch
from engine.cache import SlotCache
from engine.lineup import Lineup
from engine.prefill import Prefill
from engine.row import Row

_CALM: Final = 256  # rounds in which memory was enough, after which what had to give way may come back a little


class Relief:
    """``on_shortage`` is asked, when memory runs out, whether others on the device could free some."""

    def __init__(self, cache: SlotCache, batch: Batch) -> None:
        self.on_shortage: Callable[[], bool] | None = None
        self._cache = cache
        self._batch = batch
        self._num_calm = 0  # rounds since memory ran out or something came back

    def find(self) -> bool:
        """Memory has run out: whether others have freed some."""
        self._num_calm = 0
        return self.on_shortage is not None and self.on_shortage()

    def shrink(self, rows: Sequence[Row], lineup: Lineup) -> Sequence[Row]:
        """Memory ran out in a round, which is abandoned: others give way first, then drafts get shorter, then rows
        fewer. Returns those that failed: one that is alone and drafts nothing, and reproducible ones, whose passes have
        one size.
        """
        for slot, row in enumerate(self._batch.rows[: len(rows)]):
            self._cache.clear(slot, row.length)  # of the drafts, whose verify did not come
        if self.find():
            return []
        if fixed := [row for row in rows if row.request.reproducible]:
            for row in fixed:
                row.fail("out_of_memory", "the device has not enough memory for a reproducible pass")
            return fixed
        if lineup.shorten():
            return []
        if len(self._batch.rows) > 1:
            self._batch.shrink()
            return []
        rows[0].fail("out_of_memory", "the device has not enough memory for this request alone")
        return rows

    def recover(self, prefill: Prefill, lineup: Lineup) -> None:
        """A round begins. What gave way comes back bit by bit: the want may have been another's and be over."""
        self._num_calm += 1
        if self._num_calm >= _CALM:
            self._num_calm = 0
            self._batch.grow()
            prefill.grow()
            lineup.lengthen()
