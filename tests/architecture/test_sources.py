"""Habits that a linter does not check: no pickle, no foreign code, short files, a docstring at the top of each."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

MAX_LINES = 300
# Formats whose reading runs code that the file brings along.
UNSAFE_MODULES = frozenset({"_pickle", "cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"})
UNSAFE_CALLS = frozenset({"torch.load", "torch.save"})
UNSAFE_ARGUMENTS = frozenset({"allow_pickle", "trust_remote_code"})

Modules = Mapping[str, ast.Module]


def test_nothing_is_pickled(modules: Modules) -> None:
    found = {
        f"{path}:{node.lineno}"
        for path, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        if UNSAFE_MODULES & set(_imported(node))
    }
    assert found == set()


def test_no_file_brings_code_along(modules: Modules) -> None:
    found = {
        f"{path}:{node.lineno}"
        for path, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        if ast.unparse(node.func) in UNSAFE_CALLS or any(_is_unsafe(keyword) for keyword in node.keywords)
    }
    assert found == set()


def test_files_are_short(modules: Modules, root: Path) -> None:
    # A migration lists the tables of its moment and is never taken apart afterwards.
    written = [path for path in modules if not path.startswith("migrations/versions/")]
    lengths = {path: len((root / path).read_text().splitlines()) for path in written}

    assert {path: length for path, length in lengths.items() if length > MAX_LINES} == {}


def test_every_module_says_what_it_is_for(modules: Modules) -> None:
    assert {path for path, tree in modules.items() if not ast.get_docstring(tree)} == set()


def test_every_package_is_marked(root: Path) -> None:
    packages = ("api", "cli", "engine", "models", "workers")
    folders = {path.parent for package in packages for path in (root / package).rglob("*.py")}

    assert {str(folder) for folder in folders if not (folder / "__init__.py").exists()} == set()


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return (name.partition(".")[0] for name in names)


def _is_unsafe(keyword: ast.keyword) -> bool:
    is_off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
    return keyword.arg in UNSAFE_ARGUMENTS and not is_off
