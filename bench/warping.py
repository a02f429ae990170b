"""Temperature, top-k and top-p written the plain way in numpy, one position at a time: a reference, not for speed."""

import numpy as np
from numpy.typing import NDArray

from engine.request import Sampling


def kept(logits: NDArray[np.float64], sampling: Sampling) -> list[int]:
    """The token ids that survive top-k, top-p and min-p, most likely first; of equals the smaller id."""
    order = sorted(range(len(logits)), key=lambda token: (-logits[token], token))
    if sampling.top_k:
        order = order[: sampling.top_k]
    if sampling.top_p < 1.0:
        order = order[: _count(logits, order, sampling)]
    best = logits[order[0]] / sampling.temperature
    return [token for token in order if np.exp(logits[token] / sampling.temperature - best) >= sampling.min_p]


def _count(logits: NDArray[np.float64], order: list[int], sampling: Sampling) -> int:
    """How many of the most likely tokens reach the mass of top-p."""
    weights = np.exp((logits[order] - logits[order[0]]) / sampling.temperature)
    weights /= weights.sum()
    mass, count = 0.0, 0
    while count < len(order) and mass < sampling.top_p:
        mass += weights[count]
        count += 1
    return max(1, count)


def probabilities(logits: NDArray[np.float64], sampling: Sampling) -> NDArray[np.float64]:
    """The exact distribution of the next token at a temperature above 0."""
    out = np.zeros(len(logits))
    order = kept(logits, sampling)
    weights = np.exp((logits[order] - logits[order[0]]) / sampling.temperature)
    out[order] = weights / weights.sum()
    return out
