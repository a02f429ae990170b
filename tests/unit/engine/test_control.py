"""What drafting is worth: learned rates, expected tokens, and the choice of drafter and length."""

import math
from collections.abc import Sequence
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from engine.acceptance import Acceptance, Record
from engine.confidence import Confidence
from engine.control import Controller, Decision
from engine.costs import Grid, StepCosts
from engine.goodput import POWER, Bid, Outlook, Plan
from engine.probes import Probes
from engine.request import Drafter, Exit

MOST = 7
FLAT = Grid((1, 16), (1, 16), ((1.0, 1.0), (1.0, 1.0)))  # wider passes cost nothing more
STEEP = Grid((1, 16), (1, 16), ((1.0, 16.0), (16.0, 256.0)))  # every column costs a whole pass
GENTLE = Grid((1, 16), (1, 16), ((1.0, 1.3), (1.0, 1.6)))
CHEAP = Grid((1, 16), (1, 16), ((0.3, 0.3), (0.3, 0.3)))
DEAR = Grid((1, 16), (1, 16), ((1.1, 1.1), (1.1, 1.1)))
RATES = st.floats(0.0, 0.99)


def controller(verify: Grid, draft: Grid | None = None, leave: Exit = Exit.GOODPUT) -> Controller:
    return Controller(StepCosts(verify, draft), MOST, (16, 6), can_skip=draft is not None, leave=leave)


def bid(rates: Sequence[float] = (), skip: float = 0.0, asked: Drafter = Drafter.AUTO, room: int = MOST) -> Bid:
    return Bid(asked, room, list(range(len(rates))), 3, list(rates), skip)


def decide(one: Controller, *bids: Bid, is_padded: bool = False) -> Plan:
    """The plan of rows that leave it to the engine, once no probe is affordable."""
    broke(one)
    return one.decide(bids, is_padded).plans[Drafter.AUTO]


def broke(one: Controller) -> None:
    one._probes.lost = math.inf


def test_acceptance_starts_at_its_prior_and_forgets() -> None:
    seen = Acceptance(0.7)
    assert seen.rate == pytest.approx(0.7)

    for _ in range(200):
        seen.add(True)
    assert seen.rate > 0.95
    for _ in range(200):
        seen.add(False)

    assert seen.rate < 0.12


@given(st.lists(st.booleans(), max_size=100), st.floats(0.01, 0.99))
def test_acceptance_stays_a_probability(outcomes: list[bool], prior: float) -> None:
    seen = Acceptance(prior)
    for is_right in outcomes:
        seen.add(is_right)

    assert 0.0 < seen.rate < 1.0


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 1.0)), max_size=100), st.floats(0.0, 1.0))
def test_a_corrected_rate_stays_a_probability(outcomes: list[tuple[bool, float]], predicted: float) -> None:
    record = Record()
    for is_right, told in outcomes:
        record.add(is_right, told)

    assert 0.0 <= record.correct([predicted])[0] < 1.0


def test_a_row_that_does_worse_than_predicted_is_trusted_less() -> None:
    record = Record()
    for _ in range(50):
        record.add(False, 0.8)

    assert record.correct([0.8])[0] < 0.2
    assert Record().correct([0.8]) == [0.8]


def test_lookups_are_scored_until_the_first_wrong_one() -> None:
    """Drafts 1 2 9 against the text 1 2 3 4: two right, one wrong, the rest unknown."""
    confidence, record = Confidence(), Record()

    confidence.learn_lookups(record, 3, [1, 2, 9, 4], [1, 2, 3, 4])

    assert record.right == pytest.approx(2 * 0.98, abs=0.05)
    before, after = Confidence().lookups(Record(), 3, 4), confidence.lookups(Record(), 3, 4)
    assert [b > a for a, b in zip(before, after, strict=True)] == [True, True, False, False]


def test_longer_matches_are_told_apart() -> None:
    confidence = Confidence()
    for _ in range(100):
        confidence.learn_lookups(Record(), 1, [5], [6])
        confidence.learn_lookups(Record(), 20, [5], [5])

    assert confidence.lookups(Record(), 1, 1)[0] < 0.05
    assert confidence.lookups(Record(), 20, 1)[0] > 0.9


@given(st.lists(RATES, max_size=MOST), RATES, st.integers(0, MOST))
def test_rounds_a_token_follow_from_the_prefixes_that_are_right(rates: list[float], skip: float, room: int) -> None:
    """A power of one over E(K) = 1 + r1 + r1 r2 + ..., drafter by drafter; a cascade goes on where lookup ends."""
    rates = rates[:room]
    one = bid(rates, skip, room=room)
    outlook = Outlook([one, one], MOST)
    cascaded = [*rates[: one.head], *[skip] * (room - one.head)]

    for rows, told in ((rates, outlook.lookup), ([skip] * room, outlook.skip), (cascaded, outlook.cascade)):
        products = [math.prod(rows[:depth]) for depth in range(len(rows) + 1)]
        assert told.tolist() == pytest.approx([2 / sum(products[: most + 1]) ** POWER for most in range(MOST + 1)])
    assert outlook.cascade_steps.tolist() == [max(0, min(most, room) - one.head) for most in range(MOST + 1)]


def test_long_drafts_where_they_are_right_and_cheap() -> None:
    assert decide(controller(FLAT), bid([0.95] * 6)) == Plan(Drafter.LOOKUP, 6)


@pytest.mark.parametrize(("verify", "rate"), [(STEEP, 0.9), (GENTLE, 0.0)])
def test_no_drafts_where_they_do_not_pay(verify: Grid, rate: float) -> None:
    assert decide(controller(verify), *[bid([rate] * 6)] * 4) == Plan()


def test_lengths_grow_with_acceptance() -> None:
    chosen = [decide(controller(GENTLE), *[bid([rate] * MOST)] * 8).drafts for rate in (0.0, 0.3, 0.6, 0.8, 0.95)]

    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (0, MOST)


def test_skips_where_nothing_can_be_looked_up() -> None:
    assert decide(controller(GENTLE, CHEAP), bid(skip=0.95)).drafter is Drafter.SKIP


def test_never_skips_where_a_draft_costs_more_than_a_pass() -> None:
    assert decide(controller(FLAT, DEAR), bid(skip=0.99)) == Plan()


def test_looks_up_rather_than_skips_where_both_are_right() -> None:
    assert decide(controller(GENTLE, CHEAP), bid([0.97] * MOST, 0.97)) == Plan(Drafter.LOOKUP, MOST)


def test_cascades_where_some_rows_have_something_to_look_up() -> None:
    rows = [bid([0.97] * 3, 0.9), *[bid(skip=0.9)] * 3]

    assert decide(controller(GENTLE, CHEAP), *rows).drafter is Drafter.CASCADE


@given(
    st.lists(st.tuples(st.lists(RATES, max_size=MOST), RATES), min_size=1, max_size=16),
    st.sampled_from([FLAT, STEEP, GENTLE]),
    st.sampled_from([None, CHEAP, DEAR]),
)
def test_the_choice_is_the_best_of_all(rows: list[tuple[list[float], float]], verify: Grid, draft: Grid | None) -> None:
    """Against a plain enumeration of every drafter and length; lookup has to promise 4 % over no drafts."""
    bids = [bid(rates, skip if draft else 0.0) for rates, skip in rows]
    outlook = Outlook(bids, MOST)

    def mean(powers: float) -> float:
        return math.exp(math.log(powers) / POWER)

    def time(plan: Plan) -> float:
        count, width = plan.drafts, verify.of(len(bids), plan.drafts + 1)
        if plan.drafter in (Drafter.PLAIN, Drafter.LOOKUP):
            return mean(outlook.lookup[count]) * width
        assert draft is not None
        step = draft.of(len(bids), 1)
        if plan.drafter is Drafter.SKIP:
            return mean(outlook.skip[count]) * (width + count * step)
        return mean(outlook.cascade[count]) * (width + int(outlook.cascade_steps[count]) * step)

    plain = time(Plan())
    looked_up = min(time(Plan(Drafter.LOOKUP, count)) for count in range(1, MOST + 1))
    kinds = [Drafter.SKIP, Drafter.CASCADE] if draft else []
    others = [time(Plan(kind, count)) for kind in kinds for count in range(1, MOST + 1)]
    least = min([plain, *others, *([looked_up] if looked_up < 0.96 * plain else [])])

    assert time(decide(controller(verify, draft), *bids)) == pytest.approx(least)


def test_drafts_for_a_few_rows_have_to_pay_for_all() -> None:
    """One row of four could be four tokens further at twice the cost: the other three would wait for it."""
    rows = [bid([0.99] * MOST), *[bid()] * 3]
    dear = Grid((1, 16), (1, 8), ((1.0, 3.0), (1.0, 3.0)))

    assert decide(controller(dear), *rows) == Plan()
    assert decide(controller(dear), *rows[:1]) == Plan(Drafter.LOOKUP, MOST)


@pytest.mark.parametrize("asked", [Drafter.LOOKUP, Drafter.SKIP, Drafter.CASCADE])
def test_rows_that_ask_for_drafts_get_at_least_one(asked: Drafter) -> None:
    decision = controller(STEEP, DEAR).decide([bid([0.1], 0.1, asked)], is_padded=False)

    assert decision.plans[asked] == Plan(asked, 1)


@pytest.mark.parametrize("leave", [Exit.FIXED, Exit.ADAPTIVE])
def test_or_as_many_as_fit_where_goodput_does_not_rule(leave: Exit) -> None:
    decision = controller(STEEP, DEAR, leave).decide([bid(skip=0.1, asked=Drafter.SKIP)], is_padded=False)

    assert decision.plans[Drafter.SKIP] == Plan(Drafter.SKIP, MOST)


def test_columns_that_others_pay_for_are_taken() -> None:
    """A row that asked for lookup widens the pass to four columns: the others fill them though they seldom hit."""
    rows = [bid([0.9] * 3, asked=Drafter.LOOKUP), bid([0.1] * MOST)]

    assert decide(controller(FLAT), *rows).drafts >= 3


def test_drafts_are_free_in_padded_passes() -> None:
    plan = decide(controller(STEEP), bid([0.2] * MOST), is_padded=True)

    assert plan == Plan(Drafter.LOOKUP, 5)  # the padded width is 6


@pytest.mark.parametrize(("verify", "may"), [(FLAT, True), (GENTLE, True), (STEEP, False)])
def test_knows_when_no_drafts_can_pay(verify: Grid, may: bool) -> None:
    assert controller(verify).may_pay(4) is may


def play(one: Controller, skip: float, tokens: int, rounds: int = 400) -> tuple[int, float]:
    """Rounds in which skipping was tried though it did not look worth it, and the share of the time lost by it."""
    probes: list[Decision] = []
    for _ in range(rounds):
        decision = one.decide([bid(skip=skip)], is_padded=False)
        if decision.is_probe:
            probes.append(decision)
        one.settle(decision, tokens if decision.is_probe else 1)
    return len(probes), one._probes.lost / one._probes.spent


def test_probes_cost_a_small_share() -> None:
    count, share = play(controller(GENTLE, CHEAP), skip=0.05, tokens=1)

    assert 0 < count < 40
    assert share < 0.0051


def test_probes_that_gain_go_on() -> None:
    count, share = play(controller(GENTLE, CHEAP), skip=0.05, tokens=3)

    assert count > 300  # every round, once the first was affordable
    assert share < 0


def test_hopeless_probes_are_not_made() -> None:
    assert play(controller(GENTLE, DEAR), skip=0.05, tokens=1) == (0, 0.0)


def test_probes_live_on_a_budget() -> None:
    probes = Probes()
    assert not probes.may(0.5)

    for _ in range(120):
        probes.pay(cost_s=1.0, tokens=1, best_rate=1.0, is_probe=False)
    assert probes.may(0.5)
    probes.pay(cost_s=1.5, tokens=1, best_rate=1.0, is_probe=True)

    assert not probes.may(0.5)


def test_what_drawing_costs_is_paid_for_every_column_of_every_row_that_draws() -> None:
    """Passes cost the same whatever their width, so only drawing makes drafts dear."""
    dear = Controller(StepCosts(FLAT, draw=0.1), MOST, (16, 6), can_skip=False)
    greedy = bid([0.6] * MOST)
    drawn = replace(greedy, is_drawn=True)

    assert decide(dear, greedy, greedy).drafts == MOST
    assert decide(dear, greedy, drawn).drafts < MOST
    assert decide(dear, drawn, drawn).drafts < decide(dear, greedy, drawn).drafts
    assert (dear.may_pay(16), dear.may_pay(16, num_drawn=16)) == (True, True)
    assert not Controller(StepCosts(STEEP, draw=0.5), MOST, (16, 6), can_skip=False).may_pay(4, num_drawn=4)
