"""Scripts rely on exit codes: each is unique, documented in the help, and what the command really ends with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.errors import SkimError, exit_codes


def _kinds(kind: type[SkimError]) -> list[type[SkimError]]:
    return [kind, *(one for below in kind.__subclasses__() for one in _kinds(below))]


def test_no_two_kinds_of_error_share_a_code() -> None:
    """A kind without a code of its own is a finer word for its parent."""
    codes = [kind.exit_code for kind in _kinds(SkimError) if "exit_code" in vars(kind)]

    assert len(codes) == len(set(codes))
    assert set(codes) < exit_codes().keys()


def _skim(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SKIM_HOME": str(home), "SKIM_API_URL": "http://127.0.0.1:9", "COLUMNS": "400"}
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_lists_the_codes(tmp_path: Path) -> None:
    done = _skim(tmp_path, "--help")

    assert done.returncode == 0
    assert all(f"{code} {meaning}" in done.stdout for code, meaning in exit_codes().items())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nonsense",), 2, "No such command"),
        (("submit", "/no/such/file.md"), 2, "no such file or folder"),
        (("submit", __file__, "--metadata", "x", "--model", "m"), 2, "NAME=VALUE"),
        (("worker", "--model", "m"), 2, "no stack is running here"),
        (("status",), 3, "not running"),
    ],
)
def test_failures_are_one_line_with_their_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = _skim(tmp_path, *arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_silence_at_the_address_is_code_4(tmp_path: Path) -> None:
    done = _skim(tmp_path, "jobs")

    assert done.returncode == 4
    assert "nothing answers at http://127.0.0.1:9" in done.stderr
