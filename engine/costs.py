"""What passes cost on this device, measured, so that drafting can be weighed against it."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import BadRequest

VERIFY_WIDTHS = (1, 2, 4, 8, 16)
DRAFT_WIDTHS = (1, 4)
_BATCHES = (1, 2, 4, 16, 64)
_DRAWS = 3
_MOST_TOKENS = 128  # of a pass that is timed; from there on cost grows in proportion

TimePass = Callable[[int, int], float]
TimeDraw = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Grid:
    """Seconds of a pass over batches and widths: linear between the points, along the last slope beyond them.

    ``seconds`` holds a line for each batch; a line may end before the last width.
    """

    batches: tuple[int, ...]
    widths: tuple[int, ...]
    seconds: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        is_shaped = len(self.seconds) == len(self.batches) and all(
            0 < len(line) <= len(self.widths) for line in self.seconds
        )
        if not (self.batches and is_shaped and all(value > 0 for line in self.seconds for value in line)):
            raise BadRequest("step costs are positive seconds, a line for each batch", parameter="costs")

    @classmethod
    def measured(cls, time_pass: TimePass, rows: int, widths: Sequence[int], repeats: int = 2) -> "Grid":
        """Time passes of (batch, width) up to ``rows`` rows: one warm-up, then the best of ``repeats``.

        The best, because whatever else runs on the machine only ever adds time; for the same reason no pass is taken to
        cost more than a larger one did.
        """
        batches = tuple(dict.fromkeys(min(batch, rows) for batch in _BATCHES if batch < 4 * rows))
        timed: dict[tuple[int, int], float] = {}
        for batch in batches:
            for width in widths:
                if width == widths[0] or batch * width <= _MOST_TOKENS:
                    time_pass(batch, width)
                    timed[batch, width] = min(time_pass(batch, width) for _ in range(repeats))
        return cls(batches, tuple(widths), tuple(_line_of(timed, batch) for batch in batches))

    def of(self, batch: int, width: int) -> float:
        """Seconds of a pass of ``batch`` rows and ``width`` columns."""
        by_batch = [_line(self.widths[: len(line)], line, width) for line in self.seconds]
        return _line(self.batches, by_batch, batch)


@dataclass(frozen=True, slots=True)
class StepCosts:
    """Costs of a verify, and of a pass of the draft view where the network has one; the likeliest token included.

    ``draw``: seconds that drawing a token at a temperature takes on top, for every row and column that is drawn.
    """

    verify: Grid
    draft: Grid | None = None
    draw: float = 0.0

    @classmethod
    def assumed(cls) -> "StepCosts":
        """Costs for a network nobody measured: a fixed part and a part per token, as memory-bound devices have."""
        batches, widths = (1, 16), (1, 6)
        verify = Grid(batches, widths, tuple(tuple(1.0 + 0.05 * b * w for w in widths) for b in batches))
        draft = Grid(batches, widths, tuple(tuple(0.6 * value for value in line) for line in verify.seconds))
        return cls(verify, draft)

    @classmethod
    def measured(
        cls, time_verify: TimePass, time_draft: TimePass | None, time_draw: TimeDraw, rows: int, most: int
    ) -> "StepCosts":
        """Time both kinds of passes, widths up to ``most``, and drawing."""
        widths = [width for width in VERIFY_WIDTHS if width < most] + [most]
        draft = Grid.measured(time_draft, rows, DRAFT_WIDTHS) if time_draft is not None else None
        time_draw()
        draw = min(time_draw() for _ in range(_DRAWS))
        return cls(Grid.measured(time_verify, rows, widths), draft, draw)

    def with_draft(self, share: float) -> "StepCosts":
        """The same where a pass of the draft view costs ``share`` of one of the full network."""
        lines = tuple(tuple(share * value for value in line) for line in self.verify.seconds)
        return StepCosts(self.verify, Grid(self.verify.batches, self.verify.widths, lines), self.draw)

    def to_json(self) -> dict[str, Any]:
        """A plain form, to be kept and read back by ``from_json``."""
        return {"verify": _plain(self.verify), "draft": _plain(self.draft), "draw": self.draw}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StepCosts":
        """Read the plain form.

        Raises: BadRequest when it has another shape.
        """
        try:
            verify, draft, draw = value["verify"], value["draft"], float(value["draw"])
            if not draw >= 0.0:
                raise ValueError("drawing takes negative time")
            return cls(_grid(verify), None if draft is None else _grid(draft), draw)
        except (KeyError, TypeError, ValueError) as error:
            raise BadRequest(f"not step costs: {error!r}", parameter="costs") from error


def _line_of(timed: Mapping[tuple[int, int], float], batch: int) -> tuple[float, ...]:
    """Each width of a batch at the least that it or any larger pass took."""
    widths = [width for rows, width in timed if rows == batch]
    return tuple(
        min(seconds for (rows, wide), seconds in timed.items() if rows >= batch and wide >= width) for width in widths
    )


def _plain(grid: Grid | None) -> dict[str, Any] | None:
    if grid is None:
        return None
    return {
        "batches": list(grid.batches),
        "widths": list(grid.widths),
        "seconds": [list(line) for line in grid.seconds],
    }


def _grid(value: Mapping[str, Any]) -> Grid:
    seconds = tuple(tuple(float(one) for one in line) for line in value["seconds"])
    return Grid(tuple(map(int, value["batches"])), tuple(map(int, value["widths"])), seconds)


def _line(points: Sequence[int], values: Sequence[float], at: float) -> float:
    """Piecewise linear interpolation, never below the smallest value."""
    if len(points) == 1:
        return values[0]
    right = min(max(bisect_right(points, at), 1), len(points) - 1)
    x0, x1, y0, y1 = points[right - 1], points[right], values[right - 1], values[right]
    return max(y0 + (y1 - y0) * (at - x0) / (x1 - x0), min(values))
