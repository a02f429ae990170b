"""Timing the passes of a network on its device, once, when an engine starts."""

from time import perf_counter

import torch
from transformers import PreTrainedModel

from engine.cache import SlotCache
from engine.costs import StepCosts, TimePass
from engine.passes import Chunk, Pass, logits_of
from engine.sample import pick

_SPAN = 256  # columns that rows are taken to hold


def measured_costs(network: PreTrainedModel, view: PreTrainedModel | None, cache: SlotCache, most: int) -> StepCosts:
    """Time verifies of up to ``most`` columns, and passes of the draft view where there is one.

    Writes to slots of the cache, which nobody may hold yet.
    """
    draft = None if view is None else _timer(view, cache)
    return StepCosts.measured(_timer(network, cache), draft, cache.shape.slots, most)


def _timer(network: PreTrainedModel, cache: SlotCache) -> TimePass:
    length = cache.shape.length

    def time_pass(batch: int, width: int) -> float:
        count = min(width, length)
        run = Pass(cache, 0, [Chunk([0] * count, min(_SPAN, length - count))] * batch)
        began = perf_counter()
        pick(logits_of(network, run), [], run.positions)
        if run.tokens.is_cuda:
            torch.cuda.synchronize()
        return perf_counter() - began

    return time_pass
