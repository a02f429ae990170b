"""The optimiser's process, seen from a node: entries go in, answers come to whoever listens."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from workers.wire.searches import Json

log = structlog.get_logger(__name__)

END_S = 2.0

MODULE = ("-m", "workers.search")


@dataclass(frozen=True, slots=True)
class KeeperLost:
    """The process has ended without being told to."""

    status: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A line of it: what is known, first of all; then answers to entries."""

    entry: Json


Hear = Callable[[Answer | KeeperLost], None]


class Keeper:
    """One process of `python -m workers.search`. `hear` is called by the thread that reads its answers.

    The database's address comes from this process's environment. It is not tied to this one: what it was given before
    we are killed it still keeps, and then it ends with its stdin.
    """

    def __init__(self, arguments: Sequence[str], hear: Hear) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        self._process = subprocess.Popen(
            [sys.executable, *MODULE, *arguments],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._hear = hear
        self._is_closed = False
        self._thread = threading.Thread(target=self._read, name="keeper", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def put(self, entry: Json) -> None:
        """Pass an entry on. One that cannot be is lost, and so is the process: that is heard."""
        stdin = self._process.stdin
        if stdin is not None:
            with suppress(OSError, ValueError):  # ValueError: closed
                stdin.write(json.dumps(entry) + "\n")
                stdin.flush()

    def close(self) -> None:
        """Let it keep what it has been given, and end; one that takes too long is killed."""
        self._is_closed = True
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(END_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        stdout = self._process.stdout
        if stdout is None:
            return
        with suppress(ValueError):  # closed, or a line cut short
            for line in stdout:
                self._hear(Answer(json.loads(line)))
        if not self._is_closed:
            self._hear(KeeperLost(self._process.wait()))
