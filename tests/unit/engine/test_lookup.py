"""The suffix index against a scan of the whole text."""

import hypothesis.strategies as st
from hypothesis import given, settings

from engine.draft.lookup import LONGEST, SHORTEST, SuffixIndex

TEXTS = st.lists(st.integers(0, 2), max_size=60)


def match_by_scan(tokens: list[int]) -> tuple[int, int]:
    """Where the longest suffix of 6 to 2 tokens ended last before the end, and its length; (0, 0) for nowhere."""
    end = len(tokens)
    for size in range(LONGEST, SHORTEST - 1, -1):
        for stop in range(end - 1, size - 1, -1):
            if size <= end and tokens[stop - size : stop] == tokens[end - size :]:
                return stop, size
    return 0, 0


def draft_by_scan(tokens: list[int], most: int) -> list[int]:
    """What followed that occurrence; drafts themselves count as text where the match reaches the end."""
    follows, size = match_by_scan(tokens)
    text = list(tokens)
    for step in range(most if size else 0):
        text.append(text[follows + step])
    return text[len(tokens) :]


@settings(max_examples=300)
@given(TEXTS, TEXTS, st.integers(0, 12))
def test_as_a_scan(prompt: list[int], output: list[int], most: int) -> None:
    index = SuffixIndex(prompt)
    for token in output:
        index.push(token)

    assert index.match() == match_by_scan(prompt + output)
    assert index.draft(most) == draft_by_scan(prompt + output, most)


def test_a_loop_is_drafted_round_and_round() -> None:
    assert SuffixIndex([9, 1, 2, 3, 1, 2, 3]).draft(7) == [1, 2, 3, 1, 2, 3, 1]


def test_the_latest_occurrence_wins() -> None:
    assert SuffixIndex([1, 2, 7, 1, 2, 8, 1, 2]).draft(1) == [8]


def test_the_given_list_stays_its_owners() -> None:
    tokens = [1, 2, 1, 2]
    index = SuffixIndex(tokens)

    index.push(1)

    assert tokens == [1, 2, 1, 2]
