"""The bound S at hand-computed points."""

import pytest

from bench.bound import Bound, bound, tokens


def test_free_and_perfect_drafts_gain_one_plain_step_each() -> None:
    assert bound(1.0, 0.0, lambda _: 1.0, 5) == Bound(6.0, 5)


def test_drafts_that_are_never_right_are_not_made() -> None:
    assert bound(0.0, 0.1, lambda drafts: 1.0 + 0.1 * drafts, 5) == Bound(1.0, 0)


def test_by_hand() -> None:
    # a = 1/2, c = 1/4, v = 1: K = 1 gives 1.5 / 1.25, K = 2 gives 1.75 / 1.5
    best = bound(0.5, 0.25, lambda _: 1.0, 4)
    assert best.drafts == 1
    assert best.speedup == pytest.approx(1.2)


def test_tokens_of_a_round_are_the_geometric_sum() -> None:
    assert tokens(0.979, 4) == pytest.approx((1 - 0.979**5) / (1 - 0.979))
