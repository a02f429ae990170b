"""Timed passes in a lent slot, for the fit of a device's costs."""

import torch
from transformers import PreTrainedModel

from engine.cache import SlotCache
from engine.passes import Chunk, Pass, logits_of
from engine.request import Sampling
from engine.sample import pick
from engine.search.meter import Meter, Phase
from engine.skipset import SkipSet
from engine.view import draft_view


class PassTimer:
    """Seconds of a pass of a view at a width, with the pick that follows it: a ``TimePass``.

    ``batch`` rows start at ``slot`` and column ``start``, which sets how much of the cache is read.
    """

    def __init__(
        self, network: PreTrainedModel, cache: SlotCache, slot: int, start: int, meter: Meter, batch: int = 1
    ) -> None:
        self._network, self._cache, self._slot, self._start = network, cache, slot, start
        self._meter, self._batch = meter, batch
        self._views: dict[SkipSet, PreTrainedModel] = {SkipSet(): network}

    def __call__(self, skip_set: SkipSet, width: int) -> float:
        if skip_set not in self._views:
            self._views[skip_set] = draft_view(self._network, skip_set)
        before = self._meter.seconds[Phase.COSTS]
        with self._meter.on(Phase.COSTS), torch.inference_mode():
            run = Pass(self._cache, self._slot, [Chunk([0] * width, self._start)] * self._batch)
            pick(logits_of(self._views[skip_set], run), [Sampling()] * self._batch, run.positions)
        return self._meter.seconds[Phase.COSTS] - before
