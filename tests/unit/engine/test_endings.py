"""Where a row ends: end-of-sequence token, stop string, max_tokens, also in the middle of an accepted block."""

from dataclasses import replace
from functools import cache

import pytest

from engine.errors import BadRequest
from engine.loop import Engine, Options
from engine.oracle import decode
from engine.request import Drafter, Finished, FinishReason, Request, Sampling
from engine.skipset import SkipSet
from engine.stop import Decode
from tests.tools.decoding import guess_with, run
from tests.tools.networks import letters, tiny, words

NETWORK = tiny(3)
PROMPT = (4, 9, 2, 33)
SAMPLING = Sampling(1.5, seed=11)  # hot, so that hardly a token repeats
BLOCK = 6  # tokens of an accepted block: five drafts, all right, and one more


@cache
def text_of(max_tokens: int = 30) -> tuple[int, ...]:
    return tuple(decode(NETWORK, Request("row", PROMPT, max_tokens, SAMPLING)))


def finish(
    *,
    eos: frozenset[int] = frozenset(),
    stop: tuple[str, ...] = (),
    decode: Decode | None = letters,
    max_tokens: int = 30,
    drafter: Drafter = Drafter.SKIP,
) -> Finished:
    """Decode one request whose drafts are all right, so that it advances in full blocks."""
    engine = Engine(NETWORK, Options(rows=2, length=64, width=BLOCK), eos=eos, decode=decode, skip_set=SkipSet.of([0]))
    guess_with(engine, {"row": text_of(60)})
    request = Request("row", PROMPT, max_tokens, SAMPLING, stop=stop, drafter=drafter)
    return run(engine, [request]).finished["row"]


@pytest.mark.parametrize("drafter", [Drafter.PLAIN, Drafter.SKIP])
@pytest.mark.parametrize("at", range(12))
def test_eos_anywhere_in_a_block(at: int, drafter: Drafter) -> None:
    text = text_of()
    eos = text[at]

    finished = finish(eos=frozenset({eos}), drafter=drafter)

    assert finished.tokens == text[: text.index(eos)]
    assert (finished.finish_reason, finished.stop) == (FinishReason.STOP, None)
    assert finished.statistics.completion_tokens == text.index(eos)


@pytest.mark.parametrize("drafter", [Drafter.PLAIN, Drafter.SKIP])
@pytest.mark.parametrize("at", range(12))
@pytest.mark.parametrize("size", [1, 3])
def test_stop_string_anywhere_in_a_block(at: int, size: int, drafter: Drafter) -> None:
    text = text_of()
    stop = letters(text[at : at + size])
    end = letters(text).index(stop) + size

    finished = finish(stop=("~", stop), drafter=drafter)

    assert finished.tokens == text[:end]
    assert (finished.finish_reason, finished.stop) == (FinishReason.STOP, stop)
    assert finished.statistics.completion_tokens == end


def test_stop_string_of_characters_split_over_tokens() -> None:
    """The output spells a text whose characters are cut into single bytes."""
    text = text_of()
    spelled = dict(zip(dict.fromkeys(text), (bytes([byte]) for byte in "xü→10€!".encode()), strict=False))
    assert len(spelled) >= 12, "the text repeats too many tokens"

    def spell(tokens: object) -> str:
        assert isinstance(tokens, list | tuple)
        return b"".join(spelled.get(token, b"?") for token in tokens).decode(errors="replace")

    finished = finish(stop=("→10€",), decode=spell)

    assert spell(finished.tokens).endswith("→10€")
    assert (finished.finish_reason, finished.stop) == (FinishReason.STOP, "→10€")


def test_eos_comes_before_a_stop_string_it_would_complete() -> None:
    text = text_of()

    finished = finish(eos=frozenset({text[3]}), stop=(letters(text[2:4]),))

    assert (finished.tokens, finished.stop) == (text[:3], None)


@pytest.mark.parametrize("max_tokens", [1, 2, 5, 6, 7, 12, 13])
def test_length(max_tokens: int) -> None:
    finished = finish(max_tokens=max_tokens)

    assert finished.tokens == text_of(max_tokens)
    assert finished.finish_reason is FinishReason.LENGTH


def test_usage_of_a_request() -> None:
    finished = finish(max_tokens=14)

    statistics = finished.statistics
    assert (statistics.prompt_tokens, statistics.completion_tokens) == (len(PROMPT), 14)
    assert statistics.drafter is Drafter.SKIP
    assert statistics.verifies == 3  # skip drafts are four at most: 5 + 5 + 4 tokens
    assert (statistics.drafted, statistics.accepted, statistics.acceptance_rate) == (11, 11, 1.0)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Request("row", (1,) * 60, 5), "context_length_exceeded"),
        (Request("row", (1,), 5, drafter=Drafter.CASCADE), "drafter_unavailable"),
        (Request("row", (1,), 5, drafter=Drafter.SKIP), "drafter_unavailable"),
        (Request("row", (1,), 5, stop=("a",)), "bad_request"),
        (Request("row", (1, 61), 5), "token_out_of_range"),
        (Request("row", (-1,), 5), "token_out_of_range"),
    ],
)
def test_what_can_never_run_is_refused(request_: Request, code: str) -> None:
    engine = Engine(NETWORK, Options(rows=2, length=64))

    with pytest.raises(BadRequest) as refusal:
        engine.submit(request_)

    assert refusal.value.code == code
    assert engine.is_idle


@pytest.mark.parametrize("drafter", [Drafter.PLAIN, Drafter.SKIP])
@pytest.mark.parametrize("least", [0, 1, 9, 10, 11, 30])
def test_before_min_tokens_a_stop_string_ends_nothing(least: int, drafter: Drafter) -> None:
    """One stop string begins with the first token, one ends with the tenth, and all of them come again somewhere."""
    text = text_of()
    stops = (letters(text[:1]), letters(text[8:10]), letters(text[20:21]))
    engine = Engine(NETWORK, Options(rows=2, length=64, width=BLOCK), decode=letters, skip_set=SkipSet.of([0]))
    guess_with(engine, {"row": text_of(60)})
    sampling = replace(SAMPLING, min_tokens=least)

    finished = run(engine, [Request("row", PROMPT, 30, sampling, stop=stops, drafter=drafter)]).finished["row"]

    watched = letters(text)[least:]
    ends = [least + watched.index(stop) + len(stop) for stop in stops if stop in watched]
    assert finished.tokens == text[: min(ends, default=30)]
    assert (finished.finish_reason is FinishReason.STOP) is bool(ends)


@pytest.mark.parametrize("least", [0, 1, 9])
def test_the_first_token_that_can_stop_has_its_space(least: int) -> None:
    """It has none where it is the first of all, as tokenizers with a space before every word begin a text."""
    text = text_of()
    stop = words(text[least - 1 :])[1:3] if least else f" {words(text[:1])}"
    engine = Engine(NETWORK, Options(rows=2, length=64), decode=words)
    request = Request("row", PROMPT, least + 1, replace(SAMPLING, min_tokens=least), stop=(stop,))

    finished = run(engine, [request]).finished["row"]

    assert finished.tokens == text[: least + 1]
    assert finished.stop == (stop if least else None)


def test_an_end_token_that_the_network_cannot_write_is_none_of_its_own() -> None:
    engine = Engine(NETWORK, Options(rows=2, length=64), eos=frozenset({1_000}))
    request = Request("row", PROMPT, 5, replace(SAMPLING, min_tokens=3))

    assert run(engine, [request]).tokens["row"] == text_of(5)
