"""Generation: which prompts can run, and what the others are told."""

import pytest

from engine.request import FinishReason
from workers.errors import TextError
from workers.text import Text
from workers.work import Generation, Limits, Output, Pass

LIMITS = Limits(context=20, max_tokens=8)


def test_a_prompt_is_one_pass(text: Text) -> None:
    work = Generation({"prompt": "Once"}, text, LIMITS)

    (one,) = work.begin()
    assert one == Pass(0, text.prompt("Once"), 8)
    assert list(work.result) == []
    assert work.take(one, Output(" upon", FinishReason.LENGTH)) == []
    assert list(work.result) == [Output(" upon", FinishReason.LENGTH)]


def test_token_ids_are_a_prompt_to_which_nothing_is_added(text: Text) -> None:
    assert Generation({"prompt": [5, 0, 7]}, text, LIMITS).begin() == [Pass(0, (5, 0, 7), 8)]


def test_choices_are_passes_that_differ_by_their_number(text: Text) -> None:
    work = Generation({"prompt": "Once"}, text, LIMITS, num_choices=3)
    outputs = [Output(word, FinishReason.LENGTH) for word in ("upon", "more", "only")]

    passes = work.begin()
    assert passes == [Pass(0, text.prompt("Once"), 8, choice) for choice in range(3)]
    for one in (passes[2], passes[0]):
        work.take(one, outputs[one.choice])
        assert list(work.result) == []
    work.take(passes[1], outputs[1])
    assert list(work.result) == outputs


def test_messages_go_through_the_template(text: Text) -> None:
    messages = [{"role": "user", "content": "Hi"}]

    assert Generation({"messages": messages}, text, LIMITS).begin() == [Pass(0, text.chat(messages), 8)]


def test_prompt_and_output_may_fill_the_context_exactly(text: Text) -> None:
    assert Generation({"prompt": "x" * 12}, text, LIMITS).begin()


def test_a_longer_prompt_fails_with_the_numbers(text: Text) -> None:
    with pytest.raises(TextError, match="13 prompt tokens and max_tokens 8 exceed the context of 20") as caught:
        Generation({"prompt": "x" * 13}, text, LIMITS).begin()
    assert caught.value.code == "context_length_exceeded"


def test_a_length_nobody_asked_for_gives_way_to_the_prompt(text: Text) -> None:
    limits = Limits(context=20, max_tokens=15, gives_way=True)
    lengths = {}
    for num_prompt in (1, 5, 6, 19):
        (one,) = Generation({"prompt": "x" * num_prompt}, text, limits).begin()
        lengths[num_prompt] = one.max_tokens

    assert lengths == {1: 15, 5: 15, 6: 14, 19: 1}
    with pytest.raises(TextError, match="20 prompt tokens and an output exceed the context of 20") as caught:
        Generation({"prompt": "x" * 20}, text, limits).begin()
    assert caught.value.code == "context_length_exceeded"


def test_an_empty_prompt_fails(text: Text) -> None:
    with pytest.raises(TextError) as caught:
        Generation({"prompt": ""}, text, LIMITS).begin()
    assert caught.value.code == "empty_prompt"
