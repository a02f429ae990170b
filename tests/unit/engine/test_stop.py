"""Stop strings are seen at the very token that completes them, however bytes and characters are split over tokens."""

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from engine.stop import StopStrings
from tests.tools.networks import letters, octets, words

BROKEN = "\N{REPLACEMENT CHARACTER}"
TEXTS = st.text("ab é€😀", max_size=16)
STOPS = st.lists(st.text("ab é€😀", min_size=1, max_size=4), min_size=1, max_size=3)
CUTS = st.lists(st.integers(1, 4), min_size=70, max_size=70)


def pieces_of(text: str, sizes: list[int]) -> list[bytes]:
    """The text's bytes, cut without regard for characters."""
    rest, pieces = text.encode(), []
    for size in sizes:
        if rest:
            pieces.append(rest[:size])
            rest = rest[size:]
    return pieces


def first_by_scan(pieces: list[bytes], stops: list[str], free: int = 0) -> tuple[int, str] | None:
    """The number of tokens after which a stop string stands in the whole text behind its first ``free`` tokens, and the
    one that begins first.
    """
    start = len(b"".join(pieces[:free]).decode(errors="replace").rstrip(BROKEN))
    for count in range(free + 1, len(pieces) + 1):
        text = b"".join(pieces[:count]).decode(errors="replace").rstrip(BROKEN)[start:]
        found = [(text.index(stop), stop) for stop in stops if stop in text]
        if found:
            return count, min(found)[1]
    return None


@settings(max_examples=300)
@example("a€", [1, 1, 2, *[1] * 67], ["a"], 0)
@example("a€", [2, *[1] * 69], ["a"], 0)
@example("ba€", [1, 2, *[1] * 68], ["a"], 2)
@given(TEXTS, CUTS, STOPS, st.integers(0, 5))
def test_as_a_scan_of_the_whole_text(text: str, sizes: list[int], stops: list[str], free: int) -> None:
    pieces = pieces_of(text, sizes)
    watch = StopStrings(stops, lambda tokens: b"".join(pieces[token] for token in tokens).decode(errors="replace"))

    found = None
    for token in range(min(free, len(pieces))):
        watch.pass_over(token)
    for token in range(free, len(pieces)):
        stop = watch.push(token)
        if stop is not None:
            found = token + 1, stop
            break

    assert found == first_by_scan(pieces, stops, free)


def test_a_stray_byte_before_the_stop_string_hides_nothing() -> None:
    watch = StopStrings(["END"], octets)

    assert [watch.push(byte) for byte in b"\x80\xffEND"] == [None, None, None, None, "END"]


@pytest.mark.parametrize(("stops", "found"), [(["cd", "bcd"], "bcd"), (["d", "cd"], "cd")])
def test_of_several_the_one_that_begins_first(stops: list[str], found: str) -> None:
    watch = StopStrings(stops, letters)

    assert [watch.push(token) for token in range(4)] == [None, None, None, found]


def test_a_word_behind_tokens_that_were_passed_over_has_its_space() -> None:
    """As with tokenizers that drop the space of a text's first word."""
    watch = StopStrings([" b"], words)

    watch.pass_over(0)

    assert [watch.push(token) for token in (2, 1)] == [None, " b"]
    assert StopStrings([" b"], words).push(1) is None
