"""The cap on long requests."""

import pytest

from api.gate import Gate


def test_places_are_taken_and_given_back() -> None:
    gate = Gate(1)

    with gate.entered("ten_a") as first, gate.entered("ten_b") as second:
        assert (first, second) == (True, False)
    with gate.entered("ten_b") as third:
        assert third


@pytest.mark.parametrize(("num_places", "num_each"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (16, 12)])
def test_a_tenant_has_three_quarters_of_the_places_and_leaves_one(num_places: int, num_each: int) -> None:
    gate = Gate(num_places)

    first = [gate.try_enter("ten_a") for _ in range(num_places + 1)]
    second = [gate.try_enter("ten_b") for _ in range(num_places + 1)]
    for _ in range(num_each):
        gate.leave("ten_a")

    assert (sum(first), sum(second)) == (num_each, num_places - num_each)
    assert gate.try_enter("ten_c")
