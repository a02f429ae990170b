"""Output as it comes: whatever the rounds, the pieces are the output, and nothing is told that is taken back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.request import FinishReason, Progress, TokenLogprob
from tests.tools.networks import octets
from workers.stream import Chunk, Teller, TextStream
from workers.text import Text
from workers.work import Output

STOPS = ("abab", "\n\n")


def cut(output: str, stops: tuple[str, ...]) -> str:
    """The output before the first stop string."""
    return output[: min((at for stop in stops if (at := output.find(stop)) >= 0), default=len(output))]


@given(st.text("ab\né界", max_size=30), st.lists(st.integers(1, 5), min_size=30, max_size=30))
def test_the_pieces_are_the_output(written: str, sizes: list[int]) -> None:
    stream = TextStream(STOPS, octets)
    output = cut(written, STOPS)
    rest, told = list(written.encode()), ""

    for size in sizes:
        offset = stream.num_characters
        assert offset == len(told)
        told += stream.push(rest[:size])
        rest = rest[size:]
        assert output.startswith(told)
        if any(stop in octets(list(written.encode())[: stream.num_tokens]) for stop in STOPS):
            break  # here the engine ends the row

    assert told + stream.close(output) == output


@pytest.mark.parametrize(
    ("rounds", "told"),
    [
        (["a", "b", "c"], ["", "", "abc"]),  # could have become the stop string
        (["xa", "ya"], ["x", "ay"]),
        (["é".encode()[:1], "é".encode()[1:]], ["", "é"]),
    ],
)
def test_what_is_not_certain_is_held_back(rounds: list[str | bytes], told: list[str]) -> None:
    stream = TextStream(("abab",), octets)

    assert [stream.push(list(one.encode() if isinstance(one, str) else one)) for one in rounds] == told


@pytest.mark.parametrize("sizes", [[1] * 9, [9], [4, 5], [2, 3, 4]])
def test_stop_strings_among_the_first_tokens_hold_nothing_back(sizes: list[int]) -> None:
    stream, rest, told = TextStream(("ab",), octets, 4), list(b"xabyzabcd"), ""

    for size in sizes:
        told += stream.push(rest[:size])
        rest = rest[size:]

    assert told == "xabyz"


def test_an_unfinished_character_comes_with_the_end() -> None:
    stream = TextStream((), octets)

    assert (stream.push([0x61, 0xC3]), stream.close("a\N{REPLACEMENT CHARACTER}")) == ("", "a\N{REPLACEMENT CHARACTER}")


def test_chunks_say_where_they_belong(text: Text) -> None:
    told: list[Chunk] = []
    teller = Teller("job_1", ("stop",), text, told.append)
    (h, i) = text.prompt("hi")

    teller.add(3, 1, Progress("x", 0, (h,), (TokenLogprob(h, -0.5),), emitted_at=12.5))
    teller.add(3, 0, Progress("y", 0, (i,)))
    teller.add(3, 1, Progress("x", 1, text.prompt("is")))
    teller.end(3, 1, Output("hisss", FinishReason.STOP))

    logprobs = [{"token": "h", "logprob": -0.5, "bytes": [ord("h")], "top_logprobs": []}]
    assert told == [
        Chunk("job_1", 3, 1, 0, (h,), 0, "h", logprobs, emitted_at=12.5),
        Chunk("job_1", 3, 0, 0, (i,), 0, "i"),
        Chunk("job_1", 3, 1, 1, text.prompt("is"), 1, "i"),
        Chunk("job_1", 3, 1, 3, (), 2, "sss", finish_reason="stop"),
    ]
