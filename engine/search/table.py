"""The table of drafts: for every start and depth, whether the draft would be right, and how sure it would be."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel

from engine.cache import SlotCache
from engine.search.reference import CHUNK, Reference
from engine.search.scoring import Drafts, draft_all
from engine.search.steps import Steps


@dataclass(frozen=True, slots=True)
class Table:
    """Drafts of rounds that start at each position of a reference.

    ``are_right`` and ``confidence`` are [width, depth]; entry (s, k) is the draft that k right drafts from s precede.
    ``most_tokens`` is what the request may generate, which can be more than the reference has: it may have ended early.
    """

    are_right: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    most_tokens: int

    @classmethod
    def of_first(cls, drafts: Drafts, depth: int, most_tokens: int) -> Self:
        """An estimate from one pass: later drafts are taken to be as right as the first of a round would be there."""
        return cls(_ahead(drafts.are_right, depth) > 0, _ahead(drafts.confidence, depth), most_tokens)

    @property
    def width(self) -> int:
        return len(self.are_right)

    @property
    def depth(self) -> int:
        return int(self.are_right.shape[1])

    @property
    def runs(self) -> NDArray[np.int64]:
        """Right drafts before the first wrong one [width], at most ``depth``."""
        leading: NDArray[np.int64] = np.cumprod(self.are_right, axis=1, dtype=np.int64)
        return np.asarray(leading.sum(axis=1))


def exact_table(
    view: PreTrainedModel, cache: SlotCache, slot: int, reference: Reference, depth: int, *, chunk: int = CHUNK
) -> Steps[Table]:
    """The exact table in ``depth`` passes: blocks of ``depth`` that begin one position later in each."""
    are_right = np.zeros((reference.width, depth), dtype=bool)
    confidence = np.zeros((reference.width, depth))
    for shift in range(depth):
        drafts = yield from draft_all(view, cache, slot, reference, block=depth, shift=shift, most=chunk)
        for k in range(depth):
            ends = slice(shift + k, reference.width, depth)  # drafts of depth k + 1 stand there in this pass
            starts = slice(shift, max(shift, reference.width - k), depth)
            are_right[starts, k] = drafts.are_right[ends]
            confidence[starts, k] = drafts.confidence[ends]
        yield
    return Table(are_right, confidence, reference.request.max_tokens)


def _ahead(values: NDArray[np.bool_] | NDArray[np.float64], depth: int) -> NDArray[np.float64]:
    """Entry (s, k) is ``values[s + k]``, zero beyond the end."""
    padded = np.concatenate((values.astype(np.float64), np.zeros(depth - 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, depth)
