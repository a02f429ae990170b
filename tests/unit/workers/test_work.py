"""Generation: which prompts can run, and what the others are told."""

import pytest

from engine.request import FinishReason
from workers.errors import TextError
from workers.text import Text
from workers.work import Generation, Limits, Output, Pass

LIMITS = Limits(context=20, max_tokens=8)


def test_a_prompt_is_one_pass(text: Text) -> None:
    work = Generation({"prompt": "Once"}, text, LIMITS)

    assert work.begin() == [Pass(0, text.prompt("Once"), 8)]
    assert work.take(0, Output(" upon", FinishReason.LENGTH)) == []
    assert work.result == Output(" upon", FinishReason.LENGTH)


def test_messages_go_through_the_template(text: Text) -> None:
    messages = [{"role": "user", "content": "Hi"}]

    assert Generation({"messages": messages}, text, LIMITS).begin() == [Pass(0, text.chat(messages), 8)]


def test_prompt_and_output_may_fill_the_context_exactly(text: Text) -> None:
    assert Generation({"prompt": "x" * 12}, text, LIMITS).begin()


def test_a_longer_prompt_fails_with_the_numbers(text: Text) -> None:
    with pytest.raises(TextError, match="13 prompt tokens and max_tokens 8 exceed the context of 20") as caught:
        Generation({"prompt": "x" * 13}, text, LIMITS).begin()
    assert caught.value.code == "context_length_exceeded"


def test_an_empty_prompt_fails(text: Text) -> None:
    with pytest.raises(TextError) as caught:
        Generation({"prompt": ""}, text, LIMITS).begin()
    assert caught.value.code == "empty_prompt"
