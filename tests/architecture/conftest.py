"""What the checks on the tree read: our modules parsed, the README's text, and its tables."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("api", "bench", "cli", "deploy", "engine", "migrations", "models", "workers")


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the tree."""
    return ROOT


@pytest.fixture(scope="session")
def modules() -> Mapping[str, ast.Module]:
    """Every Python file that we ship, by its path from the root, parsed."""
    paths = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(), str(path)) for path in paths}


@pytest.fixture(scope="session")
def readme() -> str:
    """The README."""
    return (ROOT / "README.md").read_text()


@pytest.fixture(scope="session")
def rows_under(readme: str) -> Callable[[str], list[list[str]]]:
    """A function that gives the cells of all table rows under a heading, headers left out."""

    def rows(heading: str) -> list[list[str]]:
        section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL)
        assert section, f"the README has no heading {heading!r}"
        found: list[list[str]] = []
        for table in re.findall(r"(?:^\|.*\n)+", section[1], re.MULTILINE):
            # A bar that is escaped belongs to its cell.
            lines = [re.split(r"(?<!\\)\|", line.strip().strip("|")) for line in table.strip().split("\n")]
            found.extend([cell.strip().replace("\\|", "|") for cell in line] for line in lines[2:])
        return found

    return rows
