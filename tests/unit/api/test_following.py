"""Pieces of a text as they are told: every token and character once, and said to be where it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.following import Told
from workers.queues import Piece

TEXT = "abcdefghijkl"  # one token a character


def piece(start: int, end: int) -> Piece:
    """What a worker writes of the text between two places."""
    listed = [{"token": token} for token in TEXT[start:end]]
    return Piece(0, start, end - start, start, TEXT[start:end], listed, "length" if end == len(TEXT) else None)


places = st.integers(0, len(TEXT) - 1)


@given(st.lists(st.tuples(places, st.integers(1, 5))))
def test_whatever_is_written_is_told_once_and_in_its_place(written: list[tuple[int, int]]) -> None:
    told = Told()
    pieces = [*(piece(start, min(start + size, len(TEXT))) for start, size in written), piece(0, len(TEXT))]

    taken = [one for one in map(told.take, pieces) if one is not None]

    assert "".join(one.text for one in taken) == TEXT
    assert [one["token"] for new in taken for one in new.logprobs or ()] == list(TEXT)
    for one in taken:
        assert one == piece(one.start, one.start + one.num_tokens)
    assert told.is_over
