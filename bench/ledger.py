"""Passes counted and priced: what a search costs on a device that nothing disturbs.

A clock on a shared machine adds whatever else runs there. Counts do not, and the price of a pass is the best of several
timings. So a ratio of priced counts stands beside the ratio of clocks.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from bench.subjects import Subject
from engine.cache import CacheShape, SlotCache
from engine.search.costs import DeviceCosts
from engine.search.meter import Meter
from engine.search.timing import PassTimer
from engine.skipset import SkipSet

_TIMINGS = 7
_EXACT, _STEP = 16, 32  # widths above the first are priced as the next multiple of the second

Shape = tuple[int, int]  # batch, width


@contextmanager
def counting(network: nn.Module) -> Iterator[Counter[Shape]]:
    """Counts passes by shape: every view of a network embeds its tokens with the same module."""
    counts: Counter[Shape] = Counter()

    def note(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        counts[tuple(inputs[0].shape)] += 1

    embedding: nn.Module = network.get_input_embeddings()  # type: ignore[operator]
    hook = embedding.register_forward_pre_hook(note)
    try:
        yield counts
    finally:
        hook.remove()


class Prices:
    """Seconds of full passes by shape, the best of several timings each."""

    def __init__(self, subject: Subject) -> None:
        self._network = subject.network
        self._start = max(len(request.prompt) for request in subject.scored)
        self._known: dict[Shape, float] = {}

    def of(self, counts: Counter[Shape]) -> float:
        """Seconds of these passes if nothing had been skipped in any: more than searching takes."""
        return sum(many * self._price(shape) for shape, many in counts.items())

    def _price(self, shape: Shape) -> float:
        batch, width = shape
        rounded = width if width <= _EXACT else -(-width // _STEP) * _STEP
        if (batch, rounded) not in self._known:
            length, network = self._start + rounded, self._network
            cache = SlotCache(CacheShape.of(network, batch, length), network.dtype, network.device)
            timer = PassTimer(network, cache, 0, self._start, Meter(network.device), batch)
            self._known[batch, rounded] = min(timer(SkipSet(), rounded) for _ in range(_TIMINGS))
        return self._known[batch, rounded]


def decoding_s(counts: Counter[Shape], skip_set: SkipSet, costs: DeviceCosts) -> float:
    """Seconds of decoding one row: passes of one token as drafts of the set, wider ones as verifies.

    Some verifies are one token wide, so this is less than decoding takes.
    """
    drafts = costs.draft_s(skip_set)
    return sum(many * (drafts if width == 1 else costs.verify_s(width)) for (_, width), many in counts.items())
