"""Writing the keys of prompts, chunk by chunk, under a budget of tokens a round."""

from collections.abc import Callable, Sequence
from typing import Final

from transformers import PreTrainedModel

from engine.batch import Batch
from engine.cache import SlotCache
from engine.passes import Chunk, Padding, Pass, write
from engine.row import Row
from engine.shortage import is_shortage
from engine.urgency import Urgency

_TURN: Final = 8  # bulk rows get one chunk in so many, however many interactive prompts wait


class Prefill:
    """Advances the rows of a batch that do not decode yet, by ``budget`` tokens a round; ``length``: of slots.

    ``find_memory`` is told that memory has run out, and says whether others have freed some.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        cache: SlotCache,
        batch: Batch,
        urgency: Urgency,
        budget: int,
        length: int,
        find_memory: Callable[[], bool],
    ) -> None:
        self._network = network
        self._cache = cache
        self._batch = batch
        self._urgency = urgency
        self._num_passed = 0  # interactive chunks that bulk prompts have waited for since they had one
        self._padded = Padding(budget, length)
        self._budget = budget
        self._find_memory = find_memory

    def grow(self) -> None:
        """Chunks that were halved for want of memory are twice as long again."""
        self._budget = min(2 * self._budget, self._padded.width)

    def goes_first(self, decoding: Sequence[Row]) -> bool:
        """Bulk rows decode when all are ready: a fuller batch is cheaper, and nobody watches their latency."""
        return bool(self._batch.prefilling) and not any(row.request.interactive for row in decoding)

    def advance(self) -> Sequence[Row]:
        """Write one chunk of some rows; those that are complete start to decode. Returns the rows it dealt with.

        Raises: MadeWay when the rows are bulk and an interactive request has come; nothing has changed then.
        """
        group, padding = self._group()
        if not group:
            return []
        low = self._batch.rows.index(group[0])
        most = self._budget // (1 if padding.width else len(group))
        chunks = [
            Chunk(row.tokens[row.length : row.length + min(most, row.num_unwritten)], row.length) for row in group
        ]
        try:
            check = self._urgency.check_for(group)
            are_finite = write(self._network, Pass(self._cache, low, chunks, padding, check))
        except (RuntimeError, MemoryError) as error:
            if not is_shortage(error):
                raise
            return self._shrink(group, chunks, padding)
        self._urgency.settle(group)
        self._count(group)
        for slot, (row, chunk, is_finite) in enumerate(zip(group, chunks, are_finite, strict=True), low):
            if is_finite:
                row.length += len(chunk.tokens)
            else:
                row.doubt(has_drafts=False)
                self._cache.clear(slot, row.length)
        for row in group:
            if not row.is_prefilling:
                row.begin()
                self._batch.start(row)
        return group

    def _group(self) -> tuple[list[Row], Padding]:
        """Neighbours of one lane that fill one pass without much padding; a reproducible row goes alone, padded."""
        waiting = self._batch.prefilling
        first = self._first(waiting)
        group: list[Row] = []
        for row in waiting[first:]:
            if row.request.interactive is not waiting[first].request.interactive:
                break
            self._batch.share_prefix(row)
            if row.request.reproducible or (group and self._batch.will_share(row, group)):
                break
            sizes = [other.num_unwritten for other in [*group, row]]
            if len(sizes) * max(sizes) > self._budget or min(sizes) < 0.7 * max(sizes):
                break
            group.append(row)
        if group or not waiting:
            return group, Padding()
        row = waiting[first]
        return [row], self._padded if row.request.reproducible else Padding()

    def _first(self, waiting: Sequence[Row]) -> int:
        """Interactive rows go before bulk rows, but not for ever."""
        is_bulk = [not row.request.interactive for row in waiting]
        if not any(is_bulk) or all(is_bulk):
            return 0
        return is_bulk.index(self._num_passed >= _TURN - 1)

    def _count(self, group: Sequence[Row]) -> None:
        """A chunk of these rows is written; only one that was finished is a turn."""
        if not group[0].request.interactive:
            self._num_passed = 0
        elif not all(row.request.interactive for row in self._batch.prefilling):
            self._num_passed += 1

    def _shrink(self, group: Sequence[Row], chunks: Sequence[Chunk], padding: Padding) -> Sequence[Row]:
        """Memory ran out: others give way first, then the next chunks are half as long; a row that cannot have a single
        token fails alone.
        """
        if self._find_memory():
            return []
        size = max(len(chunk.tokens) for chunk in chunks)
        if padding.width or (len(group) == 1 and size == 1):
            group[0].fail("out_of_memory", "the device has not enough memory for this prompt")
            return group[:1]
        self._budget = max(1, self._budget // 2)
        return []
