"""The rule for texts of networks that round: the first difference from the reference must be a near tie.

Passes of different shapes round differently, so two correct decoders may part where two tokens score alike to within
that noise. The noise is measured in the same run, by plain decoding against itself at another shape.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache, PreTrainedModel

from bench.warping import kept
from engine.noise import gumbel
from engine.request import Finished, FinishReason, Request, Sampling
from engine.sample import pick

MARGIN = 4.0  # times the noise


@dataclass(frozen=True, slots=True)
class Reference:
    """What the stock network writes: ``picks`` with the end-of-sequence token, if any, and the ``logits`` of each."""

    picks: tuple[int, ...]
    logits: NDArray[np.float64]  # [picks, vocabulary]


@torch.inference_mode()
def refer(network: PreTrainedModel, request: Request, eos: frozenset[int]) -> Reference:
    """Decode with the stock network, its own attention and cache, one token a pass."""
    cache, device = DynamicCache(), network.device
    fresh, picks, lines = list(request.prompt), [], []
    for count in range(request.max_tokens):
        tokens = torch.tensor([fresh], device=device)
        logits = network(tokens, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
        position = torch.tensor([[len(request.prompt) - 1 + count]], device=device)
        fresh = pick(logits, [request.sampling], position).tokens[0]
        picks += fresh
        lines.append(logits[0, 0].double().cpu().numpy())
        if fresh[0] in eos:
            break
    return Reference(tuple(picks), np.stack(lines))


@torch.inference_mode()
def noise_between(network: PreTrainedModel, request: Request, reference: Reference) -> float:
    """The largest difference of a logit between one token a pass and all tokens in one pass."""
    tokens = torch.tensor([[*request.prompt, *reference.picks[:-1]]], device=network.device)
    whole = network(tokens, use_cache=False, logits_to_keep=len(reference.picks)).logits[0].double().cpu().numpy()
    return float(np.abs(whole - reference.logits).max())


def picks_of(finished: Finished, eos: frozenset[int]) -> tuple[int, ...]:
    """A finished text with the end-of-sequence token that ended it."""
    is_ended = finished.finish_reason is FinishReason.STOP and finished.stop is None
    return (*finished.tokens, min(eos)) if is_ended else finished.tokens


def is_near_tie(
    logits: NDArray[np.float64],
    sampling: Sampling,
    position: int,
    rivals: tuple[int, int],
    noise: float,
    *,
    is_crowded: bool = False,
) -> bool:
    """Whether either of two tokens may stand at ``position`` for all that can be known up to the noise.

    ``logits`` [vocabulary] are the reference's. True when the rivals are the top two of warped score + G within the
    margin, or when top-k or top-p would keep one of them, or not, with the logits shifted within the margin.
    ``is_crowded``: the noise is so wide (16 bits) that more than two tokens may lie within it; then any of these do.
    """
    shift = MARGIN * noise / (1.0 if sampling.is_greedy else sampling.temperature)
    sure, possible = _kept_around(logits, sampling, MARGIN * noise, shift)
    scores = _scores(logits, sampling, position)
    lowest, best = min(scores[token] for token in rivals), max(scores[token] for token in sure)
    if not set(rivals) <= possible or lowest < best - shift:
        return False
    is_cut_near = not set(rivals) <= sure  # a cut-off decides about one of them, however high it scores
    return is_cut_near or is_crowded or set(sorted(sure, key=lambda token: -scores[token])[:2]) == set(rivals)


def _scores(logits: NDArray[np.float64], sampling: Sampling, position: int) -> NDArray[np.float64]:
    if sampling.is_greedy:
        return logits
    noise = gumbel(torch.tensor([sampling.seed]), torch.tensor([position]), torch.arange(len(logits)))[0].numpy()
    return np.asarray(logits / sampling.temperature + noise)


def _kept_around(
    logits: NDArray[np.float64], sampling: Sampling, margin: float, shift: float
) -> tuple[set[int], set[int]]:
    """Tokens that surely survive top-k and top-p, and those that may."""
    if sampling.is_greedy:
        everything = set(range(len(logits)))
        return everything, everything
    order = kept(logits, Sampling(sampling.temperature, sampling.top_k))
    bar = logits[order[-1]]
    is_cut = len(order) < len(logits)
    sure = {token for token in order if not is_cut or logits[token] > bar + margin}
    possible = set(np.flatnonzero(logits >= bar - margin).tolist())
    if sampling.top_p < 1.0:  # a mass moves by at most a factor exp(2 shift)
        low, high = sampling.top_p * np.exp(-2 * shift), min(1.0, sampling.top_p * np.exp(2 * shift))
        sure &= set(kept(logits, Sampling(sampling.temperature, sampling.top_k, float(low))))
        possible &= set(kept(logits, Sampling(sampling.temperature, 0, float(high)))) | sure
    return sure, possible
