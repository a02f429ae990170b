"""Logit processors: what a request changes in the logits before a token is picked from them.

Pure. Applied alike to draft, verify and bonus positions: what depends on the text so far sees, at each position,
the prefix and the drafts before it. So a draft that is right was picked from the numbers the full network has there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from engine.request import Sampling


@dataclass(frozen=True, slots=True)
class Prefix:
    """The text before the first position of a row: prompt, output so far, and the drafts that follow in the same pass.

    ``ends`` are the tokens that end the text, which ``min_tokens`` forbids for a while.
    """

    prompt: Sequence[int]
    output: Sequence[int]
    drafts: Sequence[int]
    ends: frozenset[int]


def process(logits: torch.Tensor, sampling: Sampling, prefix: Prefix) -> torch.Tensor:
    """Penalties, then bias, then ``min_tokens``.

    Repetition penalty (Keskar et al., arXiv 1909.05858, section 4.1) divides positive and multiplies negative logits of
    tokens seen in prompt or output; presence and frequency penalties subtract, for tokens of the output alone.

    Args:
        logits: [width, vocabulary]; position i stands behind prompt, output and the first i drafts

    Returns: float64 [width, vocabulary]
    """
    scores = logits.to(torch.float64)
    if sampling.has_penalties:
        scores = _penalise(scores, sampling, prefix)
    if sampling.logit_bias:
        tokens, biases = zip(*sampling.logit_bias, strict=True)
        scores = scores.clone()
        scores[:, list(tokens)] += torch.tensor(biases, dtype=scores.dtype, device=scores.device)
    missing = sampling.min_tokens - len(prefix.output)
    if missing > 0 and prefix.ends:
        scores = scores.clone()
        scores[:missing, sorted(prefix.ends)] = float("-inf")
    return scores


def _penalise(scores: torch.Tensor, sampling: Sampling, prefix: Prefix) -> torch.Tensor:
    counts = _counts(scores, prefix)  # [width, vocabulary], of the output
    seen = counts > 0
    if prefix.prompt:
        seen = seen | (_tally(scores, prefix.prompt) > 0)
    penalty = sampling.repetition_penalty
    scores = torch.where(seen, torch.where(scores > 0, scores / penalty, scores * penalty), scores)
    return scores - counts * sampling.frequency_penalty - counts.clamp(max=1) * sampling.presence_penalty


def _counts(scores: torch.Tensor, prefix: Prefix) -> torch.Tensor:
    """How often each token stands in the output before each position."""
    counts = _tally(scores, prefix.output).repeat(scores.shape[0], 1)
    for index, token in enumerate(prefix.drafts[: scores.shape[0] - 1]):
        counts[index + 1 :, token] += 1
    return counts


def _tally(scores: torch.Tensor, tokens: Sequence[int]) -> torch.Tensor:
    ids = torch.tensor(list(tokens), dtype=torch.long, device=scores.device)
    return torch.bincount(ids, minlength=scores.shape[-1]).to(scores.dtype)
