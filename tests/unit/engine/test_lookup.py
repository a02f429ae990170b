"""The suffix automaton against a search of the whole text, and what it costs in operations."""

import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from engine.draft import lookup
from engine.draft.lookup import SHORTEST, Match, SuffixIndex


def texts(most: int) -> st.SearchStrategy[list[int]]:
    """Lists of few different tokens, at random or mostly periodic."""
    letters = st.lists(st.integers(0, 2), max_size=most)
    words = st.lists(st.integers(0, 3), min_size=1, max_size=5)
    periodic = st.builds(lambda words, times, rest: (words * times + rest)[:most], words, st.integers(1, most), letters)
    return st.one_of(letters, periodic)


SHORT = texts(16)  # two of them are too short to end more repeated runs than are renewed
LONG = texts(80)


def match_by_search(tokens: list[int]) -> Match | None:
    """The last place before the end where the longest possible suffix stands, found by trying all of them."""
    end = len(tokens)
    for length in range(end - 1, SHORTEST - 1, -1):
        for follows in range(end - 1, length - 1, -1):
            if tokens[follows - length : follows] == tokens[end - length :]:
                return Match(follows, length)
    return None


def draft_by_search(tokens: list[int], most: int) -> list[int]:
    """What followed that occurrence; drafts themselves count as text where the match reaches the end."""
    match, text = match_by_search(tokens), list(tokens)
    for step in range(most if match else 0):
        text.append(text[match.follows + step] if match else 0)
    return text[len(tokens) :]


@settings(max_examples=300)
@given(SHORT, SHORT, st.integers(0, 12))
def test_as_a_search(prompt: list[int], output: list[int], most: int) -> None:
    index = SuffixIndex(prompt)
    for token in output:
        index.push(token)

    assert len(index) == len(prompt + output)
    assert index.match() == match_by_search(prompt + output)
    assert index.draft(most) == draft_by_search(prompt + output, most)


@settings(max_examples=60)
@given(SHORT, SHORT)
def test_asking_between_pushes_changes_nothing(prompt: list[int], output: list[int]) -> None:
    index, text = SuffixIndex(prompt), list(prompt)
    for token in output:
        assert index.draft(5) == draft_by_search(text, 5)
        index.push(token)
        text.append(token)
        assert index.match() == match_by_search(text)


@given(LONG, LONG)
def test_in_any_text_the_match_is_an_occurrence_of_the_longest_suffix(prompt: list[int], output: list[int]) -> None:
    text = prompt + output
    index = SuffixIndex(prompt)
    for token in output:
        index.push(token)

    match, wanted = index.match(), match_by_search(text)

    assert (match and match.length) == (wanted and wanted.length)
    if match:
        assert match.follows < len(text)
        assert text[match.follows - match.length : match.follows] == text[len(text) - match.length :]


@example([])
@example([4])
@example([1, 2, 3, 4])
@given(st.lists(st.integers(), unique=True, max_size=30))
def test_a_suffix_never_finds_itself(tokens: list[int]) -> None:
    assert SuffixIndex(tokens).match() is None
    assert SuffixIndex(tokens).draft(5) == []


def test_a_match_may_be_as_long_as_the_text_but_one() -> None:
    assert SuffixIndex([7] * 30).match() == Match(29, 29)
    assert SuffixIndex([*range(500), *range(400)]).match() == Match(400, 400)


def test_a_loop_is_drafted_round_and_round() -> None:
    assert SuffixIndex([9, 1, 2, 3, 1, 2, 3]).draft(8) == [1, 2, 3, 1, 2, 3, 1, 2]


def test_the_most_recent_occurrence_is_followed() -> None:
    assert SuffixIndex([1, 2, 7, 1, 2, 7, 1, 2, 8, 1, 2]).draft(1) == [8]


def test_a_run_that_ends_too_many_others_keeps_an_older_occurrence() -> None:
    text = [5] * 200 + [6]

    match = SuffixIndex([*text, 5]).match()

    assert match is not None
    assert match.length == 1
    assert text[match.follows - 1] == 5


def test_a_long_prompt_is_read_in_several_calls() -> None:
    prompt = [*range(5000), *range(100)]
    index = SuffixIndex(prompt)

    assert index.match() is None
    assert index.draft(2) == [100, 101]


def test_the_given_list_stays_its_owners() -> None:
    tokens = [1, 2, 1, 2]
    index = SuffixIndex(tokens)

    index.push(1)

    assert tokens == [1, 2, 1, 2]


def fibonacci(size: int) -> list[int]:
    """The word with the most states and splits for its length."""
    first, second = [0], [0, 1]
    while len(second) < size:
        first, second = second, second + first
    return second[:size]


@pytest.mark.parametrize(
    "text",
    [
        lambda size: [0] * size,
        lambda size: [i % 7 for i in range(size)],
        fibonacci,
        lambda size: [0] * (size // 2) + [1] + [0] * (size // 2),
        lambda size: random.Random(1).choices(range(3), k=size),
        lambda size: random.Random(1).choices(range(3000), k=size),
    ],
    ids=["one token", "period", "fibonacci", "broken run", "few tokens", "many tokens"],
)
def test_twice_the_text_takes_twice_the_operations(text: Callable[[int], list[int]]) -> None:
    half, whole = lines_run(text(1000)), lines_run(text(2000))

    assert whole < 2.2 * half
    assert whole / 2000 < 200


def lines_run(text: list[int]) -> int:
    """Lines of the index's code that run while a text is pushed, a match asked for after every token."""
    count = 0

    def on_line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return on_line

    def on_call(frame: FrameType, *_: Any) -> Any:
        return on_line if frame.f_code.co_filename == lookup.__file__ else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        index = SuffixIndex([])
        for token in text:
            index.push(token)
            index.match()
    finally:
        sys.settrace(before)
    return count
