"""The cap on long requests."""

from api.gate import Gate


def test_places_are_taken_and_given_back() -> None:
    gate = Gate(1)

    with gate.entered() as first, gate.entered() as second:
        assert (first, second) == (True, False)
    with gate.entered() as third:
        assert third
