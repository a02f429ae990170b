"""Files, folders, JSON Lines and standard input become inputs, and every fault names its place."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.documents import read_inputs
from cli.errors import UsageError
from cli.views import Json

EMPTY = io.BytesIO()


def test_text_and_markdown_are_one_document_each(tmp_path: Path) -> None:
    note, page = tmp_path / "note.txt", tmp_path / "page.md"
    note.write_text("A note.\n")
    page.write_text("# A page\n")

    kind, inputs = read_inputs([str(note), str(page)], None, EMPTY)

    assert kind == "summarize"
    assert inputs == [
        {"custom_id": str(note), "document": "A note.\n"},
        {"custom_id": str(page), "document": "# A page\n"},
    ]


def test_text_becomes_a_message_when_generating(tmp_path: Path) -> None:
    question = tmp_path / "question.txt"
    question.write_text("Why?")

    assert read_inputs([str(question)], "generate", EMPTY) == (
        "generate",
        [{"custom_id": str(question), "messages": [{"role": "user", "content": "Why?"}]}],
    )


def test_folder_is_read_in_order_without_hidden_or_other_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("b.md", "a.txt", "deep/c.markdown", ".hidden.md", ".git/d.md", "image.png"):
        (tmp_path / name).write_text(name)

    _, inputs = read_inputs([str(tmp_path)], None, EMPTY)

    assert [one["document"] for one in inputs] == ["a.txt", "b.md", "deep/c.markdown"]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ({"document": "d"}, "summarize"),
        ({"prompt": "p"}, "generate"),
        ({"messages": [{"role": "user", "content": "m"}]}, "generate"),
    ],
)
def test_lines_tell_the_kind(tmp_path: Path, line: Json, kind: str) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_text(json.dumps(line))

    assert read_inputs([str(file)], None, EMPTY) == (kind, [line])


def test_standard_input_is_a_document_or_lines() -> None:
    text = io.BytesIO(b"Just words.")
    lines = io.BytesIO(b'{"prompt": "a"}\n\n{"prompt": "b"}\n')

    assert read_inputs(["-"], None, text) == (
        "summarize",
        [{"custom_id": "stdin", "document": "Just words."}],
    )
    assert read_inputs(["-"], None, lines) == ("generate", [{"prompt": "a"}, {"prompt": "b"}])


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=5))
def test_any_text_survives_lines(texts: list[str]) -> None:
    """Separators that only some readers know (U+2028, form feed) stay inside their string."""
    content = "\n".join(json.dumps({"document": text}, ensure_ascii=False) for text in texts)

    _, inputs = read_inputs(["-"], None, io.BytesIO(content.encode()))

    assert [one["document"] for one in inputs] == texts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"prompt": "a"}\n{"prompt": \n', ":2: not JSON"),
        (b'{"prompt": "a"}\n\n[1]\n', ":3: not a JSON object"),
        (b'{"prompt": "a"}\n{"document": "b"}\n', ":2: a generate input needs prompt or messages"),
        (b'{"prompt": "a"}\n{"prompt": "\xff"}\n', ":2: not UTF-8 (byte 0xff)"),
        (b" \n ", ": nothing in it"),
    ],
)
def test_faults_in_lines_name_file_and_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_bytes(content)

    with pytest.raises(UsageError) as caught:
        read_inputs([str(file)], None, EMPTY)

    assert str(caught.value).startswith(f"{file}{message}")


def test_missing_file_empty_folder_and_repeated_name(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("text")
    (tmp_path / "empty").mkdir()
    faults = {
        (str(tmp_path / "none.md"),): "no such file or folder",
        (str(tmp_path / "empty"),): "files in this folder",
        (str(tmp_path / "a.md"), str(tmp_path / "a.md")): "comes twice",
    }
    for sources, message in faults.items():
        with pytest.raises(UsageError, match=message):
            read_inputs(sources, None, EMPTY)
