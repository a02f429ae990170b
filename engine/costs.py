"""What a pass of a batch and width costs on this device, measured, so that drafting can be weighed against it."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTHS = (1, 3, 6)


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Seconds of one pass over a grid of batches and widths; between the points linear, beyond them the last slope."""

    batches: tuple[int, ...]
    widths: tuple[int, ...]
    seconds: tuple[tuple[float, ...], ...]  # [batch][width]

    @classmethod
    def assumed(cls) -> "StepCosts":
        """Costs for a network nobody measured: a fixed part and a part per token, as memory-bound devices have."""
        batches, widths = (1, 16), (1, 6)
        return cls(batches, widths, tuple(tuple(1.0 + 0.05 * b * w for w in widths) for b in batches))

    @classmethod
    def measured(cls, time_pass: Callable[[int, int], float], rows: int, repeats: int = 2) -> "StepCosts":
        """Time passes of (batch, width) up to ``rows`` rows: one warm-up, then the best of ``repeats``.

        The best, because whatever else runs on the machine only ever adds time; made monotone for the same reason.
        """
        batches = tuple(dict.fromkeys(min(batch, rows) for batch in (1, 4, 16, 64) if batch < 4 * rows))
        table: list[tuple[float, ...]] = []
        for batch in batches:
            line: list[float] = []
            for width in WIDTHS:
                time_pass(batch, width)
                best = min(time_pass(batch, width) for _ in range(repeats))
                line.append(max((best, *line[-1:], *(above[len(line)] for above in table[-1:]))))
            table.append(tuple(line))
        return cls(batches, WIDTHS, tuple(table))

    def of(self, batch: int, width: int) -> float:
        """Seconds of a pass of ``batch`` rows and ``width`` columns."""
        by_batch = [_line(self.widths, line, width) for line in self.seconds]
        return _line(self.batches, by_batch, batch)


def _line(points: Sequence[int], values: Sequence[float], at: float) -> float:
    """Piecewise linear interpolation, never below the smallest value."""
    if len(points) == 1:
        return values[0]
    right = min(max(bisect_right(points, at), 1), len(points) - 1)
    x0, x1, y0, y1 = points[right - 1], points[right], values[right - 1], values[right]
    return max(y0 + (y1 - y0) * (at - x0) / (x1 - x0), min(values))
