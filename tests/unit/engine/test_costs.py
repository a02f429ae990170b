"""What passes cost: measuring, reading between the points, and keeping it."""

import copy
import json
from dataclasses import dataclass, field

import pytest

from engine.costs import Grid, StepCosts
from engine.errors import BadRequest
from engine.loop import Engine, Options
from tests.tools.networks import tiny

GRID = Grid(batches=(1, 4), widths=(1, 3, 6), seconds=((1.0, 1.2, 1.8), (4.0, 4.8)))


@pytest.mark.parametrize(
    ("batch", "width", "seconds"),
    [
        (1, 1, 1.0),
        (1, 2, 1.1),
        (1, 3, 1.2),
        (1, 6, 1.8),
        (1, 8, 2.2),  # beyond the grid the last slope
        (4, 3, 4.8),
        (4, 6, 6.0),  # a line that ends early
        (2, 1, 2.0),
        (2, 2, 2.2),
        (8, 1, 8.0),
    ],
)
def test_costs_between_and_beyond_the_measured(batch: int, width: int, seconds: float) -> None:
    assert GRID.of(batch, width) == pytest.approx(seconds)


def test_costs_are_never_below_the_cheapest() -> None:
    falling = Grid((1, 2), (1, 2), ((2.0, 1.0), (2.0, 1.0)))

    assert falling.of(1, 50) == 1.0


@dataclass
class Clock:
    """A device on which the first pass of every size is slow, and some others are disturbed."""

    calls: list[tuple[int, int]] = field(default_factory=list)

    def time_pass(self, batch: int, width: int) -> float:
        is_first = (batch, width) not in self.calls
        self.calls.append((batch, width))
        return 100.0 if is_first else batch * width + (50.0 if len(self.calls) % 4 == 0 else 0.0)


@pytest.mark.parametrize(("rows", "batches"), [(1, (1,)), (2, (1, 2)), (8, (1, 2, 4, 8)), (16, (1, 2, 4, 16))])
def test_costs_are_measured_up_to_the_rows(rows: int, batches: tuple[int, ...]) -> None:
    costs = StepCosts.measured(Clock().time_pass, None, iter([9.0, 3.0, 2.0, 4.0]).__next__, rows, most=6)

    assert (costs.draft, costs.draw) == (None, 2.0)
    assert costs.verify.batches == batches
    assert costs.verify.widths == (1, 2, 4, 6)
    assert costs.verify.of(batches[-1], 6) == pytest.approx(rows * 6)


def test_huge_passes_are_not_timed() -> None:
    clock = Clock()

    costs = StepCosts.measured(clock.time_pass, clock.time_pass, lambda: 0.1, rows=64, most=16)

    assert max(batch * width for batch, width in clock.calls) <= 128
    assert costs.verify.of(64, 16) == pytest.approx(64 * 16)


@pytest.mark.parametrize("costs", [StepCosts(GRID), StepCosts(GRID, GRID, 0.5), StepCosts.assumed()])
def test_costs_can_be_kept(costs: StepCosts) -> None:
    assert StepCosts.from_json(json.loads(json.dumps(costs.to_json()))) == costs


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"verify": None, "draft": None},
        {"verify": {"batches": [1], "widths": [1], "seconds": []}, "draft": None},
        {"verify": {"batches": [1], "widths": [1], "seconds": [[-1.0]]}, "draft": None},
        {"verify": {"batches": [1], "widths": [1], "seconds": [[1.0, 2.0]]}, "draft": None},
        {"verify": {"batches": ["x"], "widths": [1], "seconds": [[1.0]]}, "draft": None},
        {"verify": [], "draft": None},
    ],
)
def test_other_shapes_are_refused(value: dict[str, object]) -> None:
    with pytest.raises(BadRequest) as refusal:
        StepCosts.from_json(value)

    assert refusal.value.parameter == "costs"


@pytest.mark.parametrize("costs", [None, StepCosts.assumed()], ids=["measured", "known"])
def test_an_engine_that_is_ready_has_run_passes_of_one_row_and_of_all(costs: StepCosts | None) -> None:
    network, seen = copy.deepcopy(tiny(2)), []
    network.model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )

    Engine(network, Options(rows=3, length=64), costs=costs, is_measured=True)

    assert {(1, 1), (3, 1)} <= set(seen)
