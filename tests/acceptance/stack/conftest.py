"""The `skim` command in a home of its own, and a way to see what of it still lives."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.stack.home import Home
from cli.stack.leftovers import find_leftovers
from cli.stack.ports import free_ports

UP_TIMEOUT_S = 420


@dataclass(frozen=True, slots=True)
class Skim:
    """The command, with its SKIM_HOME and two ports that were free."""

    root: Path
    port: int
    flower_port: int

    @property
    def home(self) -> Home:
        return Home(self.root)

    @property
    def ports(self) -> tuple[str, ...]:
        return ("--port", str(self.port), "--flower-port", str(self.flower_port))

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SKIM_")}
        return {**inherited, "SKIM_HOME": str(self.root)}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", *arguments]

    def __call__(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=UP_TIMEOUT_S,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """What a command that must succeed prints as JSON."""
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def pid(self, name: str) -> int:
        processes = self.json("status")["processes"]
        return int(next(one["pid"] for one in processes if one["name"] == name))

    def living(self) -> list[psutil.Process]:
        """Every process of this stack, children of children included."""
        if not self.home.has_secrets:
            return []
        return [leftover.process for leftover in find_leftovers(self.home, self.home.secrets().stack_id)]


@pytest.fixture(scope="module")
def skim() -> Iterator[Skim]:
    """One home for the module's tests; whatever they leave running is stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="skim-accept-"))
    folder.chmod(0o711)
    port, flower_port = free_ports(21_000 + os.getpid() % 5_000, 2)
    command = Skim(folder / "home", port, flower_port)
    yield command
    command("down")
    shutil.rmtree(folder, ignore_errors=True)
