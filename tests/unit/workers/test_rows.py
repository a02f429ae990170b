"""How many rows fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.memory import available
from workers.errors import ConfigurationError
from workers.rows import RowNeed, rows_that_fit

MIB = 2**20


@given(st.integers(1, 64), st.integers(0, 1000), st.integers(1, 50), st.integers(0, 50))
def test_rows_and_the_scratch_slot_fit_and_no_more_would(asked: int, free: int, slot: int, logits: int) -> None:
    need = RowNeed(slot, logits)
    share = free * 9 // 10
    try:
        rows = rows_that_fit(asked, free, need)
    except ConfigurationError:
        assert 2 * slot + logits > share
        return
    assert 1 <= rows <= asked
    assert (rows + 1) * slot + rows * logits <= share
    assert rows == asked or (rows + 2) * slot + (rows + 1) * logits > share


def test_no_row_at_all_is_refused_with_the_numbers() -> None:
    with pytest.raises(ConfigurationError, match=r"one takes 1,024 MiB .* 1,500 MiB are free"):
        rows_that_fit(16, 1500 * MIB, RowNeed(1024 * MIB, MIB))


@pytest.mark.parametrize(
    ("meminfo", "size"),
    [
        ("MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable:   50 kB\nBuffers: 1 kB\n", 51200),
        ("MemTotal: 1 kB\n", None),
        ("", None),
    ],
)
def test_available_memory_is_read_in_bytes(meminfo: str, size: int | None) -> None:
    assert available(meminfo) == size
