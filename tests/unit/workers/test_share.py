"""The share of a device's time that a search takes beside rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.wire.share import ADVANCE_S, SHARE_BULK, SHARE_INTERACTIVE, Share


@given(st.lists(st.floats(0.001, 0.2), min_size=1, max_size=300), st.floats(0.001, 0.2), st.booleans())
def test_a_search_never_takes_more_than_its_share_and_one_unit(
    rounds: list[float], unit_s: float, is_interactive: bool
) -> None:
    turns, decoded, searched = Share(), 0.0, 0.0
    for round_s in rounds:
        turns.decode(round_s, is_interactive=is_interactive)
        decoded += round_s
        if turns.may_search:
            turns.search(unit_s)
            searched += unit_s

    share = SHARE_INTERACTIVE if is_interactive else SHARE_BULK
    assert searched - unit_s <= max(0.0, decoded * share / (1 - share) - ADVANCE_S) + 1e-9


@pytest.mark.parametrize(("is_interactive", "share"), [(True, SHARE_INTERACTIVE), (False, SHARE_BULK)])
def test_a_search_gets_its_share(is_interactive: bool, share: float) -> None:
    turns, searched = Share(), 0.0
    for _ in range(4000):
        turns.decode(0.05, is_interactive=is_interactive)
        if turns.may_search:
            turns.search(0.1)
            searched += 0.1

    # What is over when a unit is due is not saved, hence a little less.
    assert searched / (searched + 4000 * 0.05) == pytest.approx(share, rel=0.15)


def test_rows_that_come_to_an_idle_device_begin_undisturbed() -> None:
    turns = Share()
    for _ in range(100):
        turns.decode(0.05, is_interactive=True)
    assert turns.may_search
    turns.rest()

    turns.decode(0.05, is_interactive=True)

    assert not turns.may_search
