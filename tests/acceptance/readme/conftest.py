"""The README taken at its word: its fenced blocks and the commands of its table of processes."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the tree."""
    return ROOT


@pytest.fixture(scope="session")
def process_commands() -> Mapping[str, list[str]]:
    """Name of a process: the command that the README starts it with, in words."""
    section = README.split("\n## Your own Postgres and Redis\n", maxsplit=1)[1].split("\n## ", maxsplit=1)[0]
    return {
        name: shlex.split(command) for name, command in re.findall(r"^\| (.+?) \| `(.+?)` \|", section, re.MULTILINE)
    }


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """A function that gives a port nobody listens at."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        return port

    return find
