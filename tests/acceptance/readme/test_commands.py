"""The README's commands and programs, run in its order as a newcomer would, against one stack.

Blocks marked `sh` and `python` are run; those marked `text` need another machine or show output.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.demo, pytest.mark.timeout(900)]

README = (Path(__file__).resolve().parents[3] / "README.md").read_text()
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Not run in here, and why. The Makefile must have them.
LEFT_OUT = {
    "make demo": "takes minutes on a fresh machine; every command that it is made of is run by other tests",
    "make test": "is what is running now",
}
BLOCKS = [(kind, text) for kind, text in BLOCK.findall(README) if text.strip() not in LEFT_OUT]
UP = "skim up --detach"
DOWN = "skim down"


@dataclass(frozen=True, slots=True)
class Shell:
    """A terminal in a folder that looks like the clone; what a block exports lasts for the next."""

    folder: Path
    port: int
    flower_port: int
    home: Path

    def run(self, kind: str, text: str) -> subprocess.CompletedProcess[str]:
        """Run a block; it fails at its first failing command."""
        text = text.replace(UP, f"{UP} --port {self.port} --flower-port {self.flower_port}")
        text = text.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}")
        block = self.folder / f"block.{kind}"
        block.write_text(text)
        command = "source block.sh" if kind == "sh" else "python -W error block.python"
        script = f"set -euo pipefail; source exported; {command}; declare -px > exported"
        return subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=self.folder,
            env={**_environment(), "SKIM_HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )


@pytest.fixture(scope="module")
def shell(root: Path, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[Shell]:
    """The terminal, and in the end no stack, whatever happened."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "samples").symlink_to(root / "samples")
    (folder / "exported").touch()
    home = Path(tempfile.mkdtemp(prefix="skim-readme-"))
    home.chmod(0o711)  # the servers' account has to enter it
    terminal = Shell(folder, free_port(), free_port(), home)
    yield terminal
    (folder / "exported").write_text("")
    terminal.run("sh", f"source .venv/bin/activate\n{DOWN}\n")
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize(("kind", "text"), BLOCKS, ids=[text.strip().splitlines()[0][:40] for _, text in BLOCKS])
def test_block_runs(shell: Shell, kind: str, text: str) -> None:
    if text.startswith("curl") and shutil.which("curl") is None:
        pytest.skip("curl is not installed here")

    done = shell.run(kind, text)

    assert done.returncode == 0, done.stdout


def test_commands_left_out_exist(root: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE)

    assert {command for command in LEFT_OUT if command.removeprefix("make ") not in targets} == set()
    assert {command for command in LEFT_OUT if f"```sh\n{command}\n```" not in README} == set()


def test_the_stack_is_started_and_stopped_once() -> None:
    scripts = "".join(text for kind, text in BLOCKS if kind == "sh")

    assert (scripts.count(UP), scripts.count(DOWN)) == (1, 1)


def _environment() -> dict[str, str]:
    """This process's own, without what would point the commands elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SKIM_")}
