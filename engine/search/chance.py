"""Whether it pays to look further: at a candidate, or for more of them. Pure numbers."""

from collections.abc import Iterable, Sequence
from math import erf, exp, pi, sqrt
from statistics import fmean, pstdev

import numpy as np

_QUARTER = 0.75


def is_promising(speed: float, others: Iterable[float]) -> bool:
    """Whether a speed belongs to the top quarter."""
    seen = list(others)
    return not seen or speed >= float(np.quantile(seen, _QUARTER))


def expected_gain(speeds: Sequence[float], best: float) -> float:
    """Expected improvement over ``best`` of one more draw like ``speeds``, taken to be normal (Mockus 1978)."""
    centre, width = fmean(speeds), pstdev(speeds)
    if width == 0.0:
        return max(0.0, centre - best)
    z = (centre - best) / width
    return (centre - best) * 0.5 * (1 + erf(z / sqrt(2))) + width * exp(-z * z / 2) / sqrt(2 * pi)
