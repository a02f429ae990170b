"""Networks whose sub-layers matter unequally, so that skip sets of every acceptance exist; decoding them for real."""

import copy
from collections.abc import Sequence
from functools import cache

import torch
from transformers import LlamaForCausalLM, PreTrainedModel

from engine.attention import adopt
from engine.cache import CacheShape, SlotCache
from engine.draft.skip import SkipDrafter
from engine.passes import IDLE, Chunk, Pass, logits_of, write
from engine.request import Request
from engine.round import agreeing
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
        _take(row, drafts, picks, counts)
        reach = reach.after(len(drafts), agreeing(drafts, picks))
    return counts


def decode_together(network: PreTrainedModel, skip_set: SkipSet, requests: Sequence[Request], most: int) -> Counts:
    """The same for rows of one batch in slots 0, 1, ..., ``most`` drafts a round while there is room for them."""
    cache = cache_of(network, len(requests), max(len(one.prompt) + one.max_tokens for one in requests))
    drafter = SkipDrafter(draft_view(network, skip_set), cache)
    rows, counts = [Row(request, frozenset(), None) for request in requests], Counts()
    for slot, row in enumerate(rows):
        cache.seat(slot, len(row.tokens) + row.tokens_left)
        row.length = len(row.tokens) - 1
    write(network, Pass(cache, 0, [Chunk(row.tokens[:-1], 0) for row in rows]))
    while any(is_open := [row.finish_reason is None for row in rows]):
        limits = [
            min(most, row.tokens_left - 1) if row_open else 0 for row, row_open in zip(rows, is_open, strict=True)
        ]
        drafted = drafter.propose(rows, [() for _ in rows], limits)
        run = Pass(cache, 0, [_chunk(row, drafts) for row, drafts in zip(rows, drafted, strict=True)])
        prefixes = [row.prefix(drafts) for row, drafts in zip(rows, drafted, strict=True)]
        picks = pick(logits_of(network, run), [row.request.sampling for row in rows], run.positions, prefixes)
        for row, drafts, picked in zip(rows, drafted, picks.tokens, strict=True):
            if row.finish_reason is None:
                _take(row, drafts, picked, counts)
    return counts


def _chunk(row: Row, drafts: Sequence[int]) -> Chunk:
    return Chunk([row.pending, *drafts], row.length) if row.finish_reason is None else IDLE


def _take(row: Row, drafts: Sequence[int], picks: list[int], counts: Counts) -> None:
    """Keep what was right of a round, and one token more."""
    accepted = agreeing(drafts, picks)
    counts.lengths[len(drafts)] += 1
    counts.accepted += accepted
    counts.tokens += accepted + 1
    row.length += accepted + 1
    row.take(picks[: accepted + 1])


def _picks(network: PreTrainedModel, cache: SlotCache, row: Row, drafts: Sequence[int]) -> list[int]:
    run = Pass(cache, 0, [Chunk([row.pending, *drafts], row.length)])
    prefix = row.prefix(drafts)
    return pick(logits_of(network, run), [row.request.sampling], run.positions, [prefix]).tokens[0]
