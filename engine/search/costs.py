"""What sub-layers, the rest of a step and verifies cost on one device, fitted once from timed passes.

Knows no network: whoever calls it times the passes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Self

import numpy as np

from engine.search.simulate import Counts
from engine.search.steps import Steps
from engine.search.units import contains
from engine.skipset import SkipSet

_ALIKE = 0.03  # difference of two timings that is as good as none

TimePass = Callable[[SkipSet, int], float]  # seconds of one pass of a view, at a width


@dataclass(frozen=True, slots=True)
class DeviceCosts:
    """Seconds at one batch size: of an attention, of an MLP, of everything else in a step, of verifies by width.

    ``verifies`` are (width, seconds), widths ascending, the first of them 1: a plain step.
    """

    layers: int
    attention_s: float
    mlp_s: float
    rest_s: float
    verifies: tuple[tuple[int, float], ...]

    @classmethod
    def fit(cls, layers: int, steps: Sequence[tuple[SkipSet, float]], verifies: Sequence[tuple[int, float]]) -> Self:
        """Least squares over the steps of several views, in proportion to their length; no cost is below zero.

        Noise only ever adds, so a pass is taken to last no longer than any that does all it does and more: a single
        disturbed one would make drafts look cheap, or verifies free.
        """
        widths, seconds = zip(*verifies, strict=True)
        rising = np.minimum.accumulate(seconds[::-1])[::-1].tolist()
        every = [*steps, (SkipSet(), rising[0])]
        bounded = [(one, min(took for other, took in every if contains(one, other))) for one, _ in steps]
        counts = np.array([[layers - len(s.attention), layers - len(s.mlp), 1] for s, _ in bounded], dtype=float)
        least = np.array([took for _, took in bounded])
        fitted, *_ = np.linalg.lstsq(counts / least[:, None], np.ones(len(least)), rcond=None)
        attention, mlp, rest = np.maximum(fitted, 0.0).tolist()
        return cls(layers, attention, mlp, rest, tuple(zip(widths, rising, strict=True)))

    @property
    def plain_s(self) -> float:
        return self.verifies[0][1]

    def draft_s(self, skip_set: SkipSet) -> float:
        """Seconds of one draft step, never more than a plain one."""
        attentions, mlps = self.layers - len(skip_set.attention), self.layers - len(skip_set.mlp)
        return min(self.plain_s, self.rest_s + attentions * self.attention_s + mlps * self.mlp_s)

    def verify_s(self, width: int) -> float:
        """Seconds of a verify: linear between the measured widths, beyond them along the last slope."""
        widths, seconds = zip(*self.verifies, strict=True)
        if width <= widths[-1] or len(widths) == 1:
            return float(np.interp(width, widths, seconds))
        slope = (seconds[-1] - seconds[-2]) / (widths[-1] - widths[-2])
        return float(seconds[-1] + slope * (width - widths[-1]))

    def seconds(self, counts: Counts, skip_set: SkipSet) -> float:
        """What a decode loop costs."""
        step = self.draft_s(skip_set)
        return sum(many * (drafts * step + self.verify_s(drafts + 1)) for drafts, many in counts.lengths.items())

    def speed(self, counts: Counts, skip_set: SkipSet) -> float:
        """Times as fast as plain decoding."""
        return counts.tokens * self.plain_s / self.seconds(counts, skip_set)


@dataclass(frozen=True, slots=True)
class Load:
    """The batch sizes a device serves at: costs at each, and the share of tokens decoded at it."""

    parts: tuple[tuple[float, DeviceCosts], ...]

    @classmethod
    def of(cls, costs: DeviceCosts) -> Self:
        return cls(((1.0, costs),))

    @property
    def layers(self) -> int:
        return self.parts[0][1].layers

    def speed(self, counts: Counts, skip_set: SkipSet) -> float:
        """Times as fast as plain decoding of the same tokens, over all batch sizes."""
        plain = sum(share * costs.plain_s for share, costs in self.parts)
        spent = sum(share * costs.seconds(counts, skip_set) for share, costs in self.parts)
        return counts.tokens * plain / spent

    def saving(self, skip_set: SkipSet) -> float:
        """Share of a plain step that a draft step saves."""
        plain = sum(share * costs.plain_s for share, costs in self.parts)
        return 1 - sum(share * costs.draft_s(skip_set) for share, costs in self.parts) / plain


def measure(time_pass: TimePass, layers: int, most: int, repeats: int = 5) -> Steps[DeviceCosts]:
    """Time plain steps, views without attention, without MLPs and without either, and verifies up to ``most`` drafts.

    In turn, one warm-up each, then the best of ``repeats`` or more: of a pass whose two best differ it is not known yet
    how long it takes undisturbed, so all go on until they agree, four times ``repeats`` at most.
    """
    every = range(layers)
    views = [SkipSet(), SkipSet.of(every), SkipSet.of((), every), SkipSet.of(every, every)]
    widths = sorted({1 + max(1, most // 2), 1 + most})
    passes = [*((view, 1) for view in views), *((SkipSet(), width) for width in widths)]
    taken: list[list[float]] = [[] for _ in passes]
    for repeat in range(4 * repeats + 1):
        for (view, width), times in zip(passes, taken, strict=True):
            took = time_pass(view, width)
            if repeat:
                times.append(took)
            yield
        if repeat >= repeats and all(_agree(times) for times in taken):
            break
    best = [min(times) for times in taken]
    steps = list(zip(views, best, strict=False))
    verifies = [(1, best[0]), *zip(widths, best[len(views) :], strict=True)]
    return DeviceCosts.fit(layers, steps, verifies)


def _agree(times: Sequence[float]) -> bool:
    """Whether the two best of them are as good as equal."""
    best, second, *_ = [*sorted(times), inf]
    return second <= best * (1 + _ALIKE)
