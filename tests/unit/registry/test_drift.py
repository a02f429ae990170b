"""Drift: a drop that is seen when it is real, and noise that is not taken for one."""

from random import Random

import pytest

from models.drift import LEAST_ITEMS, Sums, drift_of

ITEMS = 25  # a look


def look(dice: Random, rate: float, spread: float = 0.1, drafted: int = 120) -> Sums:
    """A look at items whose own rates scatter around `rate`."""
    sums = Sums()
    for _ in range(ITEMS):
        own = min(1.0, max(0.0, dice.gauss(rate, spread)))
        accepted = sum(dice.random() < own for _ in range(drafted))
        sums += Sums(1, drafted, accepted, drafted**2, accepted**2, drafted * accepted)
    return sums


def test_a_drop_is_seen_in_the_latest_looks_alone() -> None:
    dice = Random(1)
    looks = [look(dice, 0.8) for _ in range(30)] + [look(dice, 0.6) for _ in range(2)]
    drift = drift_of(looks)

    assert drift is not None
    assert drift.is_real
    assert (drift.num_before, drift.num_now) == (50, 50)
    assert drift.before == pytest.approx(0.8, abs=0.05)
    assert drift.now == pytest.approx(0.6, abs=0.05)


def test_noise_is_no_drift() -> None:
    """The rates of items scatter by a fifth; of 400 comparisons of like with like none may be taken for a drop."""
    dice = Random(2)
    drifts = [drift_of([look(dice, 0.7, spread=0.2) for _ in range(4)]) for _ in range(400)]

    assert [drift for drift in drifts if drift is None or drift.is_real] == []


def test_the_error_is_that_of_items_not_of_tokens() -> None:
    """Over many samples the standard error says how far rates scatter, which tokens alone would hide."""
    dice = Random(3)
    sums = [look(dice, 0.6, spread=0.2) for _ in range(800)]
    rates = [one.rate for one in sums]
    mean = sum(rates) / len(rates)
    scatter = (sum((rate - mean) ** 2 for rate in rates) / len(rates)) ** 0.5

    assert sum(one.error for one in sums) / len(sums) == pytest.approx(scatter, rel=0.1)
    assert (mean * (1 - mean) / (ITEMS * 120)) ** 0.5 < scatter / 3


def test_a_small_drop_is_let_be_and_a_rise_is_none() -> None:
    dice = Random(4)
    for later in (0.785, 0.95):
        drift = drift_of([look(dice, rate, spread=0.0, drafted=5000) for rate in (0.8, 0.8, later, later)])
        assert drift is not None
        assert not drift.is_real


def test_too_little_of_either_says_nothing() -> None:
    dice = Random(5)
    looks = [look(dice, rate) for rate in (0.9, 0.9, 0.1)]

    assert LEAST_ITEMS == 2 * ITEMS
    assert drift_of([]) is None
    assert drift_of(looks) is None
    assert drift_of([look(dice, 0.9, drafted=10) for _ in range(4)]) is None  # items enough, tokens not
