"""Timing the passes of a network on its device, once, when an engine starts."""

from time import perf_counter

import torch
from transformers import PreTrainedModel

from engine.cache import SlotCache
from engine.costs import StepCosts, TimeDraw, TimePass
from engine.passes import Chunk, Pass, logits_of
from engine.request import Sampling
from engine.sample import draw, pick

_SPAN = 256  # columns that rows are taken to hold


def measured_costs(network: PreTrainedModel, view: PreTrainedModel | None, cache: SlotCache, most: int) -> StepCosts:
    """Time verifies of up to ``most`` columns, passes of the draft view where there is one, and drawing a token.

    Writes to slots of the cache, which nobody may hold yet.
    """
    draft = None if view is None else _timer(view, cache)
    vocabulary = network.config.get_text_config().vocab_size
    logits = torch.randn(1, vocabulary, device=cache.device).to(network.dtype)
    return StepCosts.measured(_timer(network, cache), draft, _drawer(logits), cache.shape.slots, most)


def warm(network: PreTrainedModel, view: PreTrainedModel | None, cache: SlotCache) -> None:
    """A pass of one row and one of all, so that nobody waits for kernels to be loaded and memory to be set aside."""
    for one in (network, view) if view is not None else (network,):
        time_pass = _timer(one, cache)
        time_pass(1, 1)
        time_pass(cache.shape.slots, 1)


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


def _drawer(logits: torch.Tensor) -> TimeDraw:
    """Times a draw from logits [1, vocabulary]."""
    here = torch.zeros(1, dtype=torch.long, device=logits.device)

    def time_draw() -> float:
        began = perf_counter()
        draw(logits, Sampling(1.0), here).tolist()  # waits for the device
        return perf_counter() - began

    return time_draw
