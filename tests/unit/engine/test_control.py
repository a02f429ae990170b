"""What drafting is worth: running acceptance, measured costs, and the choice of how far to draft."""

from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
from hypothesis import given

from engine.acceptance import Acceptance
from engine.control import Controller, Offer
from engine.costs import StepCosts

GRID = StepCosts(batches=(1, 4), widths=(1, 3, 6), seconds=((1.0, 1.2, 1.8), (4.0, 4.8, 7.2)))
FLAT = StepCosts((1, 16), (1, 6), ((1.0, 1.0), (1.0, 1.0)))  # wider passes cost nothing more
STEEP = StepCosts((1, 16), (1, 6), ((1.0, 6.0), (16.0, 96.0)))  # every column costs a whole pass


def seen(accepted: int, drafted: int, times: int = 50) -> Acceptance:
    """The record of a row whose verifies all went alike."""
    record = Acceptance()
    for _ in range(times):
        record.add(accepted, drafted)
    return record


def taught(costs: StepCosts, accepted: int, drafted: int) -> tuple[Controller, Offer]:
    """A controller that saw one row's drafts go alike fifty times."""
    controller, offer = Controller(costs), Offer(Acceptance(), match=3, drafts=5)
    for _ in range(50):
        controller.learn(offer, accepted, drafted)
    return controller, offer


@pytest.mark.parametrize(
    ("batch", "width", "seconds"),
    [
        (1, 1, 1.0),
        (1, 2, 1.1),
        (1, 3, 1.2),
        (1, 6, 1.8),
        (1, 8, 2.2),  # beyond the grid the last slope
        (4, 6, 7.2),
        (2, 1, 2.0),
        (2, 2, 2.2),
        (8, 1, 8.0),
    ],
)
def test_costs_between_and_beyond_the_measured(batch: int, width: int, seconds: float) -> None:
    assert GRID.of(batch, width) == pytest.approx(seconds)


def test_costs_are_never_below_the_cheapest() -> None:
    falling = StepCosts((1, 2), (1, 2), ((2.0, 1.0), (2.0, 1.0)))

    assert falling.of(1, 50) == 1.0


@dataclass
class Clock:
    """A device on which the first pass of every size is slow, and some others are disturbed."""

    calls: list[tuple[int, int]] = field(default_factory=list)

    def time_pass(self, batch: int, width: int) -> float:
        is_first = (batch, width) not in self.calls
        self.calls.append((batch, width))
        return 100.0 if is_first else batch * width + (50.0 if len(self.calls) % 4 == 0 else 0.0)


@pytest.mark.parametrize(("rows", "batches"), [(1, (1,)), (2, (1, 2)), (8, (1, 4, 8)), (16, (1, 4, 16))])
def test_costs_are_measured_up_to_the_rows(rows: int, batches: tuple[int, ...]) -> None:
    costs = StepCosts.measured(Clock().time_pass, rows)

    assert costs.batches == batches
    assert costs.of(batches[-1], 6) == pytest.approx(rows * 6)


def test_acceptance_counts_the_first_wrong_draft_only() -> None:
    record = Acceptance()

    record.add(accepted=2, drafted=5)

    assert (record.right, record.tried) == (2.0, 3.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)).map(sorted), max_size=100))
def test_acceptance_stays_a_probability(outcomes: list[list[int]]) -> None:
    record = Acceptance()
    for accepted, drafted in outcomes:
        record.add(accepted, drafted)

    assert 0.0 <= record.right <= record.tried + 1e-9
    assert 0.0 < record.rate() < 1.0


def test_acceptance_forgets() -> None:
    record = seen(5, 5, times=200)
    assert record.rate() > 0.95

    for _ in range(200):
        record.add(0, 5)

    assert record.rate() < 0.1


def test_nothing_seen_is_the_prior() -> None:
    assert Acceptance().rate(prior=0.7) == pytest.approx(0.7)


def test_long_drafts_where_they_are_right_and_cheap() -> None:
    controller, offer = taught(FLAT, 5, 5)

    assert controller.drafts([offer], batch=1) == 5


@pytest.mark.parametrize("costs", [STEEP, GRID])
def test_no_drafts_where_they_are_wrong(costs: StepCosts) -> None:
    controller, offer = taught(costs, 0, 5)

    assert controller.drafts([offer], batch=4) == 0


def test_no_drafts_where_width_costs_what_it_brings() -> None:
    controller, offer = taught(STEEP, 4, 5)

    assert controller.drafts([offer], batch=4) == 0


def test_lengths_grow_with_acceptance() -> None:
    chosen = [Controller(GRID).drafts([Offer(seen(a, 5), 0, 5)] * 2, batch=2) for a in range(6)]

    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (0, 5)


def test_drafts_that_others_pay_for_are_taken() -> None:
    controller, offer = taught(STEEP, 0, 5)

    assert controller.drafts([offer], batch=2, least=3) == 3


def test_rows_without_drafts_are_no_reason_to_widen() -> None:
    controller = Controller(FLAT)

    assert controller.drafts([Offer(Acceptance(), 0, 0)] * 3, batch=3) == 0


def test_a_match_length_is_learnt_across_rows() -> None:
    """A new row trusts what other rows' matches of this length did, until it has a record of its own."""
    controller, _ = taught(GRID, 5, 5)

    assert controller.drafts([Offer(Acceptance(), 3, 5)], batch=1) == 5
    assert controller.drafts([Offer(seen(0, 5), 3, 5)], batch=1) < 5
