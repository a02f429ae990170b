"""What thirds of a series say of it."""

from collections.abc import Sequence

import pytest

from bench.trend import Rule, Sample, trend


def samples(values: Sequence[float], *, quiet_every: int = 1) -> list[Sample]:
    """One a second with 100 requests each."""
    return [
        Sample(float(number), 100 * number, number % quiet_every == 0, {"it": value})
        for number, value in enumerate(values)
    ]


END = Sample(100.0, 1000, True, {"it": 0.0})


def test_what_grows_only_while_it_warms_up_is_good() -> None:
    found = trend("it", Rule.MEMORY, samples([10, 60, 100, 100, 101, 100, 101, 100, 100]), END)

    assert (found.first, found.second, found.last, found.is_good) == (60, 100, 100, True)


def test_memory_may_grow_by_a_twentieth_or_eight_mib() -> None:
    assert trend("it", Rule.MEMORY, samples([100, 100, 108]), END).is_good
    assert not trend("it", Rule.MEMORY, samples([100, 100, 108.1]), END).is_good
    assert trend("it", Rule.MEMORY, samples([1000, 1000, 1050]), END).is_good
    assert not trend("it", Rule.MEMORY, samples([1000, 1000, 1051]), END).is_good


def test_the_slope_is_per_thousand_requests() -> None:
    found = trend("it", Rule.MEMORY, samples([3.0 * number for number in range(9)]), END)

    assert found.slope == pytest.approx(30)


def test_equal_looks_at_quiet_moments_alone() -> None:
    seen = [5, 50, 50, 5, 50, 50, 5, 90, 90]

    assert trend("it", Rule.EQUAL, samples(seen, quiet_every=3), END).is_good
    assert not trend("it", Rule.EQUAL, samples([5, 0, 0, 5, 0, 0, 6, 0, 0], quiet_every=3), END).is_good


def test_gone_looks_at_the_end_alone() -> None:
    left = Sample(100.0, 1000, True, {"it": 1.0})

    assert trend("it", Rule.GONE, samples([1, 2, 3]), END).is_good
    assert not trend("it", Rule.GONE, samples([1, 2, 3]), left).is_good


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="three samples"):
        trend("it", Rule.EQUAL, samples([1, 2]), END)
