"""Networks whose sub-layers matter unequally, so that skip sets of every acceptance exist; decoding them for real."""

import copy
from collections.abc import Sequence
from functools import cache

import torch
from transformers import LlamaForCausalLM, PreTrainedModel

from engine.attention import adopt
from engine.cache import CacheShape, SlotCache
from engine.draft.skip import SkipDrafter
from engine.loop import agreeing
from engine.passes import Chunk, Pass, logits_of, write
from engine.request import Request
from engine.row import Row
from engine.sample import pick
from engine.search.simulate import Counts, Reach
from engine.skipset import SkipSet
from engine.view import draft_view
from tests.tools.networks import tiny


@cache
def graded(layers: int = 8, *, seed: int = 0, low: float = 0.01, high: float = 1.0) -> LlamaForCausalLM:
    """A random Llama in float64 whose sub-layers write ``low`` to ``high`` of what they would, in random order."""
    network = copy.deepcopy(tiny(layers, seed=seed))
    generator = torch.Generator().manual_seed(seed)
    scales = torch.logspace(0, 1, 2 * layers, base=high / low, dtype=torch.float64) * low
    scales = scales[torch.randperm(2 * layers, generator=generator)]
    for index, layer in enumerate(network.model.layers):
        layer.self_attn.o_proj.weight.mul_(scales[2 * index])
        layer.mlp.down_proj.weight.mul_(scales[2 * index + 1])
    adopt(network)
    return network


def cache_of(network: PreTrainedModel, slots: int = 4, length: int = 256) -> SlotCache:
    shape = CacheShape.of(network, slots, length)
    return SlotCache(shape, network.dtype, network.device)


def decode_for_real(network: PreTrainedModel, skip_set: SkipSet, request: Request, reach: Reach) -> Counts:
    """Draft with the engine's own drafter, verify with its passes, one row in slot 0."""
    cache = cache_of(network, 1)
    cache.seat(0, len(request.prompt) + request.max_tokens)
    drafter = SkipDrafter(draft_view(network, skip_set), cache)
    row, counts = Row(request, frozenset(), None), Counts()
    if row.num_unwritten:
        write(network, Pass(cache, 0, [Chunk(row.tokens[:-1], 0)]))
        row.length = len(row.tokens) - 1
    while row.finish_reason is None:
        (drafts,) = drafter.propose([row], [()], [min(reach.most, row.tokens_left - 1)], reach.threshold)
        picks = _picks(network, cache, row, drafts)
        accepted = agreeing(drafts, picks)
        reach = reach.after(len(drafts), accepted)
        counts.lengths[len(drafts)] += 1
        counts.accepted += accepted
        row.length += accepted + 1
        row.take(picks[: accepted + 1])
    counts.tokens = row.num_generated
    return counts


def _picks(network: PreTrainedModel, cache: SlotCache, row: Row, drafts: Sequence[int]) -> list[int]:
    run = Pass(cache, 0, [Chunk([row.pending, *drafts], row.length)])
    prefix = row.prefix(drafts)
    return pick(logits_of(network, run), [row.request.sampling], run.positions, [prefix]).tokens[0]
