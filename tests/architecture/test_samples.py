"""The bundled documents are what the demo promises: enough of them, of fair length, one longer than the context."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.stack.demo_model import CONTEXT_LENGTH

LONGEST = "drinking-water.md"
# The demo model's tokenizer never joins two of these pieces into one token, so there are at least as many tokens.
PIECE = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[A-Za-z]+|\d|[^\sA-Za-z\d]+")


@pytest.fixture
def documents(root: Path) -> dict[str, str]:
    """The texts by file name. The page about them has no suffix, so that `skim submit samples` leaves it out."""
    return {path.name: path.read_text() for path in (root / "samples").glob("*.md")}


def test_there_are_enough(documents: dict[str, str]) -> None:
    assert len(documents) >= 15


def test_each_has_a_title_and_a_fair_length(documents: dict[str, str]) -> None:
    lengths = {name: len(text.split()) for name, text in documents.items() if name != LONGEST}

    assert {name for name, text in documents.items() if not text.startswith("# ")} == set()
    assert {name: length for name, length in lengths.items() if not 150 <= length <= 700} == {}


def test_one_is_longer_than_the_context_of_the_demo_model(documents: dict[str, str]) -> None:
    assert len(PIECE.findall(documents[LONGEST])) > CONTEXT_LENGTH
