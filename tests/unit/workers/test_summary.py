"""Splitting documents and the tree of passes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.request import FinishReason
from workers.errors import TextError
from workers.summary import Prompts, Style, Summary, split
from workers.text import Text
from workers.work import Limits, Output, Pass

LIMITS = Limits(context=600, max_tokens=100)


def paragraphs(num: int, seed: int = 0) -> str:
    """A document of `num` paragraphs of 2 to 5 sentences."""
    source = random.Random(seed)

    def sentence() -> str:
        return " ".join(source.choices(("tide", "harbour", "ledger", "quiet", "copper"), k=8)).capitalize() + "."

    return "\n\n".join(" ".join(sentence() for _ in range(source.randint(2, 5))) for _ in range(num))


def make(document: str, text: Text, limits: Limits = LIMITS, style: Style = Style.PARAGRAPH) -> Summary:
    return Summary(document, text, limits, Prompts.of(text, limits, style, 40))


def drive(summary: Summary, text: Text, answer: str = "Short.", seed: int = 0) -> list[Pass]:
    """Run all passes, ending those of a level in random order; returns them as they were asked for."""
    source = random.Random(seed)
    asked: list[Pass] = []
    level = list(summary.begin())
    while level:
        asked += level
        source.shuffle(level)
        following: list[Pass] = []
        for one in level:
            following += summary.take(one, Output(answer, FinishReason.STOP))
        level = following
    return asked


def test_split_says_everything_once() -> None:
    document = paragraphs(12)
    parts = split(document, range(len(document)), 4)

    assert len(parts) == 4
    assert "".join("".join(parts).split()) == "".join(document.split())


def test_split_prefers_paragraphs_then_sentences_then_words() -> None:
    in_paragraphs = "a" * 45 + " b.\n\n" + "c. " * 17
    in_sentences = "a " * 23 + "b. " + "c " * 25
    in_words = "aaaa " * 20

    assert split(in_paragraphs, range(len(in_paragraphs)), 2)[0].endswith("b.")
    assert split(in_sentences, range(len(in_sentences)), 2)[0].endswith("b.")
    assert [len(part) for part in split(in_words, range(len(in_words)), 2)] == [49, 49]


def test_split_cuts_a_word_only_where_there_is_nothing_else() -> None:
    assert split("x" * 100, range(100), 4) == ["x" * 25] * 4


@settings(deadline=None, derandomize=True)
@given(st.text(min_size=1, max_size=400), st.integers(2, 9))
def test_split_loses_nothing_whatever_the_text(text: str, num_parts: int) -> None:
    parts = split(text, range(len(text)), num_parts)

    assert "".join("".join(parts).split()) == "".join(text.split())
    assert len(parts) <= num_parts


def test_a_short_document_takes_one_pass(text: Text) -> None:
    summary = make("A short document.", text)
    asked = drive(summary, text)

    assert [one.max_tokens for one in asked] == [100]
    assert "A short document." in text.decode(asked[0].prompt)
    assert list(summary.result) == [Output("Short.", FinishReason.STOP)]


def test_a_long_document_is_read_completely_within_the_context(text: Text) -> None:
    document = paragraphs(20)
    asked = drive(make(document, text), text)

    assert all(len(one.prompt) + one.max_tokens <= LIMITS.context for one in asked)
    assert [one.number for one in asked] == list(range(len(asked)))
    read = "".join("".join(text.decode(one.prompt).partition("facts.")[2].split()) for one in asked[:-1])
    assert read == "".join(document.split())


def test_summaries_that_are_long_themselves_make_another_level(text: Text) -> None:
    summary = make(paragraphs(40), text)
    asked = drive(summary, text, answer="w" * 90)

    num_first = len(summary.begin())
    assert len(asked) > num_first + 1
    assert summary.result


def test_passes_do_not_depend_on_the_order_in_which_parts_end(text: Text) -> None:
    document = paragraphs(40)

    runs = {tuple(drive(make(document, text), text, answer="w" * 90, seed=seed)) for seed in range(5)}
    assert {frozenset(run) for run in runs} == {frozenset(next(iter(runs)))}


def test_a_level_that_does_not_shrink_fails(text: Text) -> None:
    with pytest.raises(TextError) as caught:
        drive(make(paragraphs(20), text), text, answer="w" * 900)
    assert caught.value.code == "summary_does_not_shrink"


def test_parts_without_a_word_give_an_empty_summary(text: Text) -> None:
    summary = make(paragraphs(20), text)
    drive(summary, text, answer=" ")

    assert list(summary.result) == [Output("", FinishReason.STOP)]


def test_a_context_without_room_for_a_document_fails_with_the_numbers(text: Text) -> None:
    with pytest.raises(TextError, match=r"max_tokens 500 exceed the context of 600") as caught:
        make(paragraphs(20), text, Limits(context=600, max_tokens=500)).begin()
    assert caught.value.code == "context_length_exceeded"


def test_an_empty_document_fails(text: Text) -> None:
    with pytest.raises(TextError) as caught:
        make(" \n", text).begin()
    assert caught.value.code == "empty_prompt"


@pytest.mark.parametrize("style", Style)
def test_documents_of_a_job_share_the_beginning_of_their_prompts(text: Text, style: Style) -> None:
    prompts = [make(f"{number} bottles", text, style=style).begin()[0].prompt for number in range(2)]

    first, second = (text.decode(prompt) for prompt in prompts)
    assert first.partition("0 bottles")[0] == second.partition("1 bottles")[0]
    assert "40 words" in first
