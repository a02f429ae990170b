"""Pearson's chi-square without scipy: a statistic, and the value it exceeds once in a million."""

from math import sqrt

import numpy as np
from numpy.typing import NDArray

_ONE_IN_A_MILLION = 4.753  # standard normal quantile of 1 - 1e-6


def chi_square(counts: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Pearson's statistic of counts against exact probabilities; what cannot happen must not have happened."""
    assert counts.shape == probabilities.shape
    assert not counts[probabilities == 0].any()
    wanted = probabilities[probabilities > 0] * counts.sum()
    return float((((counts[probabilities > 0] - wanted) ** 2) / wanted).sum())


def bound(freedom: int) -> float:
    """What chi-square of so many degrees of freedom exceeds once in a million (Wilson and Hilferty, 1931)."""
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + _ONE_IN_A_MILLION * sqrt(spread)) ** 3


def fits(counts: NDArray[np.int64], probabilities: NDArray[np.float64], least: float = 5.0) -> bool:
    """Whether counts may come from the probabilities; outcomes expected fewer than ``least`` times are pooled."""
    counts, probabilities = counts.ravel(), probabilities.ravel()
    assert not counts[probabilities == 0].any()
    is_rare = probabilities * counts.sum() < least
    pooled_counts = np.append(counts[~is_rare], counts[is_rare].sum())
    pooled = np.append(probabilities[~is_rare], probabilities[is_rare].sum())
    if pooled[-1] * counts.sum() < least:  # too little to judge on its own
        pooled_counts, pooled = pooled_counts[:-1], pooled[:-1] / pooled[:-1].sum()
    return chi_square(pooled_counts, pooled) < bound(max(1, len(pooled) - 1))
