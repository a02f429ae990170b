"""Costs fitted from timed passes: right on a device that keeps them exactly, whatever disturbs single passes."""

from collections.abc import Callable

import pytest

from engine.search.costs import DeviceCosts, Load, measure
from engine.search.simulate import Counts
from engine.search.steps import drain
from engine.skipset import SkipSet

LAYERS = 12
TRUE = DeviceCosts(LAYERS, 0.002, 0.003, 0.01, ((1, 0.07), (4, 0.076), (7, 0.082)))


def device(disturb: Callable[[int], float]) -> Callable[[SkipSet, int], float]:
    """A timer of a device with the true costs, some passes of which take longer."""
    passes = iter(range(10_000))

    def time_pass(skip_set: SkipSet, width: int) -> float:
        seconds = TRUE.draft_s(skip_set) if width == 1 else TRUE.verify_s(width)
        return seconds + disturb(next(passes))

    return time_pass


@pytest.mark.parametrize(
    "disturb",
    [
        lambda _: 0.0,
        lambda number: 1.0 if number < 6 else 0.0,
        lambda number: 0.05 * (number % 7 == 0),
        lambda number: 0.5 / (1 + number) if number < 48 else 0.0,
    ],
    ids=["quiet", "cold", "busy now and then", "busy for longer than five turns"],
)
def test_costs_are_found(disturb: Callable[[int], float]) -> None:
    found = drain(measure(device(disturb), LAYERS, 6))

    for one in (SkipSet(), SkipSet.of([3], [4, 5]), SkipSet.of(range(9), range(4))):
        assert found.draft_s(one) == pytest.approx(TRUE.draft_s(one))
    assert [found.verify_s(width) for width in (1, 4, 6, 9)] == pytest.approx(
        [TRUE.verify_s(width) for width in (1, 4, 6, 9)]
    )


@pytest.mark.parametrize("which", range(6))
def test_one_pass_that_is_never_quiet_does_not_spoil_the_rest(which: int) -> None:
    """Its 0.05 s are up to twice what a pass takes; drafts stay right to a quarter of a plain step."""
    found = drain(measure(device(lambda number: 0.05 if number % 6 == which else 0.0), LAYERS, 6))

    for one in (SkipSet(), SkipSet.of([3], [4, 5]), SkipSet.of(range(9), range(4))):
        assert found.draft_s(one) / found.plain_s == pytest.approx(TRUE.draft_s(one) / TRUE.plain_s, rel=0.25)
    assert TRUE.plain_s <= found.plain_s <= found.verify_s(4) <= found.verify_s(7)


def test_speed_is_tokens_over_seconds() -> None:
    counts, half = Counts(tokens=30, accepted=18), SkipSet.of(range(LAYERS))
    counts.lengths.update({3: 10})

    speed = TRUE.speed(counts, half)

    assert speed == pytest.approx(30 * 0.07 / (10 * (3 * 0.046 + 0.076)))
    assert Load(((0.5, TRUE), (0.5, TRUE))).speed(counts, half) == pytest.approx(speed)
