"""Tokens of prompts, conversations and documents."""

import pytest

from workers.errors import TextError
from workers.text import Text


def test_decode_undoes_prompt(text: Text) -> None:
    assert text.decode(text.prompt("Grüße, 世界")) == "Grüße, 世界"


def test_decode_cuts_at_the_stop_string(text: Text) -> None:
    assert text.decode(text.prompt("one\n\ntwo\n\nthree"), "\n\n") == "one"


@pytest.mark.parametrize(("free", "said"), [(0, "one"), (3, "one"), (4, "one\n\ntwo"), (8, "one\n\ntwo"), (9, None)])
def test_decode_looks_for_the_stop_string_behind_the_first_tokens(free: int, said: str | None, text: Text) -> None:
    """A token is a byte here, as in `prompt`."""
    whole = "one\n\ntwo\n\nthree"

    assert text.decode(text.prompt(whole), "\n\n", free) == (whole if said is None else said)


def test_decode_drops_special_tokens(text: Text) -> None:
    assert text.decode(text.prompt("said<|end|>")) == "said"


def test_chat_ends_with_the_assistants_turn(text: Text) -> None:
    tokens = text.chat([{"role": "user", "content": "Hi"}])

    assert tokens == text.prompt("<|user|>Hi<|end|><|assistant|>")
    assert len(tokens) == 1 + 2 + 1 + 1


def test_chat_without_template_is_refused(raw_text: Text) -> None:
    with pytest.raises(TextError) as caught:
        raw_text.chat([{"role": "user", "content": "Hi"}])
    assert caught.value.code == "no_chat_template"


def test_special_markup_in_a_document_is_text(text: Text) -> None:
    assert len(text.document("<|end|>")) == len("<|end|>")
    assert len(text.prompt("<|end|>")) == 1


def test_envelope_and_document_make_the_rendered_conversation(text: Text) -> None:
    envelope = text.envelope("Sum up.")

    assert envelope.around(text.document("Once.")) == text.chat([{"role": "user", "content": "Sum up.\n\nOnce."}])


def test_envelope_without_template_is_a_raw_prompt(raw_text: Text) -> None:
    tokens = raw_text.envelope("Sum up.").around(raw_text.document("Once."))

    assert raw_text.decode(tokens) == "Sum up.\n\nOnce.\n\nSummary:"


def test_starts_are_characters(text: Text) -> None:
    assert text.starts("aé b") == [0, 1, 1, 2, 3]
