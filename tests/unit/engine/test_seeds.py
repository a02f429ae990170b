"""Derived seeds: the same everywhere, different wherever a pass stands elsewhere in its job."""

from itertools import product

from engine.seeds import derive

VERSION_ONE = [6_612_211_668_136_104_350, 6_743_891_223_163_155_490, 614_737_489_549_414_751]


def test_every_place_has_its_own() -> None:
    places = list(product((0, 1, 2**63 - 1), range(12), range(12), range(12)))

    assert len({derive(*place) for place in places}) == len(places)
    assert all(0 <= derive(*place) < 2**63 for place in places)


def test_they_never_change() -> None:
    """Stored jobs are decoded again with them, by other versions and machines."""
    assert derive(42, 7) == derive(42, 7, 0, 0)
    assert [derive(42, 7), derive(42, 7, 1), derive(42, 7, 0, 1)] == VERSION_ONE
