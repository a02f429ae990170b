"""Planted networks: random weights in which a chosen skip set contributes almost nothing.

They let the whole engine run at a published operating point (shape, skip set, acceptance) without published weights.
The text they write is no language, but it has what matters to a decoder: it does not loop, a token has a few plausible
successors, which of them comes depends on the context, and every sub-layer outside the set matters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from bench.decoys import NO_DECOYS, Decoys, level
from bench.weights import blank, fill, outputs_of, scaled
from engine.cache import CacheShape, SlotCache
from engine.passes import Chunk, Pass, logits_of, write
from engine.skipset import SkipSet
from engine.view import draft_view

_PROMPT = 16  # tokens


@dataclass(frozen=True, slots=True)
class Sample:
    """What a network wrote, [rows][tokens], and how often the draft view picked the same next token."""

    acceptance: float
    texts: list[list[int]]


@dataclass(frozen=True, slots=True)
class Planted:
    """A planted network: ``scale`` is what the planted sub-layers' outputs were multiplied by; ``acceptance`` and
    ``distinct`` (see the function) were measured on its own text.
    """

    network: LlamaForCausalLM
    skip_set: SkipSet
    scale: float
    acceptance: float
    distinct: float


def plant(  # noqa: PLR0913  each is a property of the network that a caller may want
    config: LlamaConfig,
    skip_set: SkipSet,
    acceptance: float,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    decoys: Decoys = NO_DECOYS,
    mixing: float = 3.0,
    rows: int = 16,
    tokens: int = 64,
    tolerance: float = 0.004,
) -> Planted:
    """Build a network whose draft view with ``skip_set`` reaches ``acceptance``.

    The share of missed picks is about proportional to the scale of the planted outputs, so the search for the scale is
    by proportion inside a shrinking bracket; it ends within ``tolerance`` or after ten tries. Acceptance is measured
    over ``rows`` texts of ``tokens`` tokens: of 1,000 tokens at 0.98 it is known to within 0.005 at best.

    ``mixing`` is the gain of attention, by which a token's past decides about the next: with less of it small networks
    begin to loop, with more of it deep ones amplify the rounding of 16 bits (1.5 suits networks of 768 and wider).

    Raises: ValueError for an acceptance outside (0, 1), BadRequest for a skip set that names layers the shape lacks.
    """
    if not 0.0 < acceptance < 1.0:
        raise ValueError("acceptance must lie between 0 and 1")
    skip_set.check(int(config.num_hidden_layers or 0))
    network = blank(config, dtype, device)
    fill(network, skip_set, decoys, mixing, seed)
    scale, low, high = 0.05, 0.0, 1.0
    if decoys.pairs:
        with scaled(network, skip_set, scale):
            level(network, prompts_of(config, 4, 64, seed))
    prompts = prompts_of(config, rows, _PROMPT, seed + 1)
    for _ in range(10):
        with scaled(network, skip_set, scale):
            sample = sample_of(network, skip_set, prompts, tokens)
        if abs(sample.acceptance - acceptance) <= tolerance:
            break
        low, high = (scale, high) if sample.acceptance > acceptance else (low, scale)
        scale = scale * (1 - acceptance) / max(1 - sample.acceptance, 1e-3)
        if not low < scale < high:
            scale = (low + high) / 2
    for projection in outputs_of(network, skip_set):
        projection.weight.mul_(scale)
    return Planted(network, skip_set, scale, sample.acceptance, distinct(sample.texts))


def prompts_of(config: LlamaConfig, rows: int, tokens: int, seed: int) -> list[list[int]]:
    """Random prompts."""
    dice = torch.Generator().manual_seed(seed)
    prompts: list[list[int]] = torch.randint(int(config.vocab_size or 0), (rows, tokens), generator=dice).tolist()
    return prompts


def sample_of(network: PreTrainedModel, skip_set: SkipSet, prompts: Sequence[Sequence[int]], tokens: int) -> Sample:
    """Let the network write greedily, all rows at once, and ask the draft view for each next token beforehand.

    The view sees the full network's keys and values of the past, as the first draft of every round does. Prompts are of
    one length.
    """
    view = draft_view(network, skip_set)
    start = len(prompts[0]) - 1
    shape = CacheShape.of(network, len(prompts), start + tokens)
    cache = SlotCache(shape, network.dtype, network.device)
    write(network, Pass(cache, 0, [Chunk(prompt[:-1], 0) for prompt in prompts]))
    pending = [prompt[-1] for prompt in prompts]
    texts: list[list[int]] = [[] for _ in prompts]
    right = 0
    for column in range(start, start + tokens):
        chunks = [Chunk([token], column) for token in pending]
        drafts = logits_of(view, Pass(cache, 0, chunks))[:, 0].argmax(-1)
        picks = logits_of(network, Pass(cache, 0, chunks))[:, 0].argmax(-1)
        right += int((drafts == picks).sum())
        pending = picks.tolist()
        for text, token in zip(texts, pending, strict=True):
            text.append(token)
    return Sample(right / (len(prompts) * tokens), texts)


def distinct(texts: Sequence[Sequence[int]], size: int = 4) -> float:
    """The share of runs of ``size`` tokens that are not repeated within their text (1: nothing repeats)."""
    runs = [[tuple(text[i : i + size]) for i in range(len(text) - size + 1)] for text in texts]
    return sum(len(set(one)) for one in runs) / sum(map(len, runs))
