"""Lengths: what the API refuses as too long the worker would refuse too, and it looks only where it has to."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import lengths
from api.errors import TooLong
from api.lengths import PIECE, SLACK, Lengths, is_beyond, load, tokenizer_path
from engine.load import _digest
from models.catalog import ModelView
from tests.unit.workers.conftest import TEMPLATE, save_tokenizer
from workers.errors import TextError
from workers.text import Text
from workers.work import Generation, Limits

CONTEXT = 100
CHECKS = Lengths(None)  # shared by the examples: a tokenizer takes a moment to load


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer with a token a byte."""
    return save_tokenizer(tmp_path_factory.mktemp("model"), TEMPLATE)


@pytest.fixture(scope="module")
def counter(folder: Path) -> Text:
    """How the worker counts."""
    return Text(folder)


def model(source: Path | str, name: str = "tiny") -> ModelView:
    return ModelView(name, name, str(source), None, "auto", CONTEXT, "Any", 1, True, datetime.now(UTC))


def refuses(checks: Lengths, about: ModelView, said: dict[str, Any], max_tokens: int) -> bool:
    try:
        checks.check(about, said, max_tokens)
    except TooLong:
        return True
    return False


def test_a_prompt_that_cannot_fit_is_refused_by_field_and_line(folder: Path) -> None:
    with pytest.raises(TooLong) as caught:
        Lengths(None).check(model(folder), {"prompt": "x" * 200}, 10, prefix="inputs[3].", line=7)

    (fault,) = caught.value.faults
    assert (fault.field, fault.line) == ("inputs[3].prompt", 7)
    assert "more than 90 tokens" in fault.message


def test_token_ids_are_counted_without_a_tokenizer() -> None:
    assert refuses(Lengths(None), model("/nowhere"), {"prompt": [5] * 91}, 10)
    assert not refuses(Lengths(None), model("/nowhere"), {"prompt": [5] * 90}, 10)


@given(st.lists(st.text(max_size=150), min_size=1, max_size=3), st.integers(1, 99), st.booleans())
def test_what_is_refused_the_worker_would_refuse(
    folder: Path, counter: Text, texts: list[str], max_tokens: int, is_chat: bool
) -> None:
    turns = [{"role": role, "content": text} for role, text in zip(("user", "assistant", "user"), texts, strict=False)]
    said: dict[str, Any] = {"messages": turns} if is_chat else {"prompt": texts[0]}

    if refuses(CHECKS, model(folder), said, max_tokens):
        with pytest.raises(TextError) as caught:
            Generation(said, counter, Limits(CONTEXT, max_tokens)).begin()
        assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
def test_every_turn_of_a_conversation_counts(folder: Path, role: str) -> None:
    turns = [{"role": role, "content": "x" * 60}, {"role": "user", "content": "y" * 60}]

    assert refuses(CHECKS, model(folder), {"messages": turns}, 10)
    assert not refuses(CHECKS, model(folder), {"messages": turns[1:]}, 10)


@pytest.mark.parametrize("end", ["</think>", "</seed:think>", "[/THINK]"])
def test_what_an_answer_thought_does_not_count(folder: Path, end: str) -> None:
    """Templates drop it from earlier turns."""
    thought = {"content": "x" * 200 + end + "y"}

    assert not refuses(CHECKS, model(folder), {"messages": [{"role": "assistant", **thought}]}, 10)
    assert refuses(CHECKS, model(folder), {"messages": [{"role": "user", **thought}]}, 10)


def test_short_texts_load_no_tokenizer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lengths, "load", lambda path: pytest.fail("loaded"))
    turns = [{"role": "user", "content": "x" * 45}, {"role": "assistant", "content": "y" * 45}]

    Lengths(None).check(model(folder), {"prompt": "x" * 90}, 10)
    Lengths(None).check(model(folder), {"messages": turns}, 10)


def test_without_the_files_the_worker_decides(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")

    assert not refuses(Lengths(None), model("/nowhere"), {"prompt": "x" * 500}, 10)
    assert not refuses(Lengths(tmp_path), model("/nowhere/model.gguf"), {"prompt": "x" * 500}, 10)
    assert not refuses(Lengths(None), model(tmp_path), {"prompt": "x" * 500}, 10)


def test_long_texts_are_counted_in_pieces(folder: Path) -> None:
    tokenizer = load(folder / "tokenizer.json")
    assert tokenizer is not None
    size = 3 * PIECE

    assert is_beyond(tokenizer, "x" * size, size - 3 * SLACK - 1)
    assert not is_beyond(tokenizer, "x" * size, size)


def test_few_tokenizers_are_kept(folder: Path) -> None:
    checks = Lengths(None)

    for name in ("a", "b", "c", "b"):
        assert refuses(checks, model(folder, name), {"prompt": "x" * 500}, 10)

    assert list(checks._loaded) == ["c", "b"]


def test_a_converted_file_is_found_where_the_engine_put_it(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    converted = tmp_path / "weights" / _digest(file)
    converted.mkdir(parents=True)
    (converted / "tokenizer.json").touch()

    assert tokenizer_path(model(file), tmp_path) == converted / "tokenizer.json"
    assert tokenizer_path(model(file), None) is None
