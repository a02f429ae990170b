"""Does it grow? Series of samples of a long run, and what their thirds say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final

import numpy as np

SHARE: Final = 0.05
SLACK_MIB: Final = 8.0


class Rule(StrEnum):
    """What a series may do."""

    MEMORY = "memory"  # MiB: its last third is at most 5 % or 8 MiB above its second
    EQUAL = "equal"  # its last third is nowhere above the highest of its second
    GONE = "gone"  # it is 0 once the time of everything is up
    TOLD = "told"  # nothing is asked of it


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at a moment; `requests` had been answered by then. A quiet one has no traffic around it."""

    at_s: float
    requests: int
    is_quiet: bool
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Trend:
    """A series in short: medians of its thirds, and what it grows by in 1,000 requests after the first third."""

    name: str
    rule: Rule
    first: float
    second: float
    last: float
    slope: float
    final: float
    is_good: bool


def trend(name: str, rule: Rule, samples: Sequence[Sample], final: Sample) -> Trend:
    """Judge a series; `final` was taken long after the last request. The first third is warming up."""
    seen = [one for one in samples if name in one.values and (one.is_quiet or rule is not Rule.EQUAL)]
    thirds = [[one.values[name] for one in part] for part in _thirds(seen)]
    first, second, last = (median(part) for part in thirds)
    end = final.values.get(name, 0.0)
    verdicts = {
        Rule.MEMORY: last - second <= max(SLACK_MIB, SHARE * second),
        Rule.EQUAL: max(thirds[2]) <= max(thirds[1]),
        Rule.GONE: end == 0,
        Rule.TOLD: True,
    }
    return Trend(name, rule, first, second, last, _slope(name, seen[len(seen) // 3 :]), end, verdicts[rule])


def _thirds(samples: Sequence[Sample]) -> list[Sequence[Sample]]:
    """Raises ValueError where there are fewer than three."""
    if len(samples) < 3:
        raise ValueError("three samples are needed")
    one, two = len(samples) // 3, 2 * len(samples) // 3
    return [samples[:one], samples[one:two], samples[two:]]


def _slope(name: str, samples: Sequence[Sample]) -> float:
    """Least squares, per 1,000 requests."""
    x = np.array([one.requests for one in samples], dtype=float)
    if np.ptp(x) == 0:
        return 0.0
    y = np.array([one.values[name] for one in samples])
    return float(np.polyfit(x - x.mean(), y, 1)[0]) * 1000
