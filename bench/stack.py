"""A stack of its own for a benchmark: ``skim up`` in a temporary home, and ``skim down`` whatever happens."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SKIM = str(Path(sys.executable).with_name("skim"))


@dataclass(frozen=True, slots=True)
class Stack:
    """Where it listens on loopback, a key for it, and its home."""

    home: Path
    port: int
    key: str


@contextmanager
def running(port: int, *options: str, **settings: str) -> Iterator[Stack]:
    """A stack on ``port`` (Flower on the next one), started with these options of ``skim up`` and these variables."""
    with tempfile.TemporaryDirectory(prefix="skim-bench-") as name:
        home = Path(name)
        home.chmod(0o755)  # the servers' account has to enter it
        environment = {**os.environ, **settings, "SKIM_HOME": name}
        where = ("--port", str(port), "--flower-port", str(port + 1))
        try:
            subprocess.run([SKIM, "up", "--detach", *where, *options], check=True, env=environment)
            key = json.loads((home / "credentials").read_text())["api_key"]
            yield Stack(home, port, key)
        finally:
            subprocess.run([SKIM, "down"], check=True, env=environment)
