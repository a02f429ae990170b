"""Skip sets as values: bits there and back, and what is no skip set."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from engine.errors import BadRequest
from engine.skipset import SkipSet

HALVES = st.integers(0, 90).flatmap(lambda layers: st.text("01", min_size=2 * layers, max_size=2 * layers))


@given(HALVES)
def test_bits_there_and_back(bits: str) -> None:
    skip_set = SkipSet.from_bits(bits)

    assert skip_set.bits(len(bits) // 2) == bits
    assert len(skip_set) == bits.count("1")
    skip_set.check(len(bits) // 2)


def test_bits_are_attention_first() -> None:
    assert SkipSet.from_bits("100011") == SkipSet.of([0], [1, 2])


@pytest.mark.parametrize("bits", ["1", "012", "0a", "1 ", "²1"])
def test_other_texts_are_refused(bits: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        SkipSet.from_bits(bits)

    assert refusal.value.parameter == "skip_set"


@given(st.integers(1, 120))
def test_the_first_set_to_try_keeps_the_ends(layers: int) -> None:
    starting = SkipSet.starting(layers)

    starting.check(layers)
    assert not {0, layers - 1} & (starting.attention | starting.mlp)
