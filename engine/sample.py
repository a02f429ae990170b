"""Picking tokens: warp the logits, add keyed Gumbel noise, take the largest. Greedy is the temperature-0 case.

Gumbel-max: argmax(log p + G) is a draw from p. Since the noise depends on (seed, position, token) alone, draft and
verify that see the same logits pick the same token, and a draft is right iff it equals the full network's pick
(drafter-invariant coupling, Daliri et al., arXiv 2408.07978).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from engine.noise import gumbel
from engine.process import Prefix, process
from engine.request import Sampling

_HEAD = 1024  # candidates among which top-p is tried before the whole vocabulary is sorted


@dataclass(frozen=True, slots=True)
class Picks:
    """What the logits say at each position: ``tokens`` [batch][width]; ``is_finite`` [batch][width]."""

    tokens: list[list[int]]
    is_finite: list[list[bool]]


def pick(
    logits: torch.Tensor,
    samplings: Sequence[Sampling],
    positions: torch.Tensor,
    prefixes: Sequence[Prefix | None] = (),
    widths: Sequence[int] = (),
) -> Picks:
    """The token each position continues with.

    Args:
        logits: [batch, width, vocabulary]
        samplings: one per row of the batch
        positions: int64 [batch, width], position of the token that produced the logits; the pick stands one further
        prefixes: the text before each row, for rows whose sampling has processors
        widths: columns of each row that anybody reads; all where there are none
    """
    best, tokens = logits.max(-1)  # the first of equals: ties by token id
    for row, sampling in enumerate(samplings):
        prefix = prefixes[row] if prefixes else None
        count = widths[row] if widths else logits.shape[1]
        if prefix is not None:
            scores = process(logits[row, :count], sampling, prefix)
            tokens[row, :count] = draw(scores, sampling, positions[row, :count] + 1)
        elif not sampling.is_greedy:
            tokens[row, :count] = draw(logits[row, :count], sampling, positions[row, :count] + 1)
    packed = torch.stack((tokens, torch.isfinite(best).long())).tolist()  # one transfer from the device
    return Picks(packed[0], [[bool(flag) for flag in row] for row in packed[1]])


def draw(logits: torch.Tensor, sampling: Sampling, positions: torch.Tensor) -> torch.Tensor:
    """Picked tokens [width] from logits [width, vocabulary] for tokens standing at ``positions`` [width]."""
    if sampling.is_greedy:
        return logits.max(-1).indices
    warped = warp(logits, sampling)
    seeds = torch.full_like(positions, sampling.seed)
    vocabulary = torch.arange(logits.shape[-1], device=logits.device)
    return (warped + gumbel(seeds, positions, vocabulary)).argmax(-1)


def warp(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Temperature, then top-k, top-p and min-p; what falls out is -inf.

    Args:
        logits: [width, vocabulary]

    Returns: float64 [width, vocabulary], unnormalised log-probabilities
    """
    scores = logits.to(torch.float64)
    # Shifted before divided: a tiny temperature would make infinities of all.
    scores = (scores - scores.max(-1, keepdim=True).values) / sampling.temperature
    if 0 < sampling.top_k < scores.shape[-1]:
        scores = _keep_top_k(scores, sampling.top_k)
    if sampling.top_p < 1.0:
        scores = _keep_top_p(scores, sampling.top_p)
    if sampling.min_p > 0.0:
        bar = scores.max(-1, keepdim=True).values + math.log(sampling.min_p)
        scores = scores.masked_fill(scores < bar, float("-inf"))
    return scores


def _keep_top_k(scores: torch.Tensor, top_k: int) -> torch.Tensor:
    bar = scores.topk(top_k, dim=-1).values[..., -1:]
    above = scores > bar
    tied = scores == bar
    room = top_k - above.sum(-1, keepdim=True)
    kept = above | (tied & (tied.cumsum(-1) <= room))  # of equals at the bar the smaller token ids stay
    return scores.masked_fill(~kept, float("-inf"))


def _keep_top_p(scores: torch.Tensor, top_p: float) -> torch.Tensor:
    """The smallest set of most likely tokens whose mass reaches ``top_p``; the most likely one always stays."""
    total = scores.logsumexp(-1, keepdim=True)
    head = scores.topk(min(_HEAD, scores.shape[-1]), dim=-1).values
    mass = (head - total).exp().sum(-1)
    if head.shape[-1] < scores.shape[-1] and bool((mass < top_p).any()):
        head = scores.sort(dim=-1, descending=True).values
    before = (head - total).exp().cumsum(-1) - (head - total).exp()
    count = (before < top_p).sum(-1, keepdim=True).clamp(min=1)  # tokens that stay, in order of likelihood
    bar = head.gather(-1, count - 1)
    above = scores > bar
    tied = scores == bar
    room = count - above.sum(-1, keepdim=True)
    return scores.masked_fill(~(above | (tied & (tied.cumsum(-1) <= room))), float("-inf"))
