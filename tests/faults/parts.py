"""A process that is kept running as a service manager would: started again soon after it has ended."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

RESTART_S = 0.3


class Part:
    """One process, its log and its children. `tend` has to be called often, always by the same thread."""

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path, stop: int = signal.SIGTERM
    ):
        self.name = name
        self.log = log
        self.is_wanted = True
        self.before_start: Callable[[], None] = lambda: None
        self._command = list(command)
        self._env = dict(env)
        self._stop = stop
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at = 0.0

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process that runs, or of the last one."""
        return 0 if self._process is None else self._process.pid

    def tend(self) -> None:
        """Start it if it is wanted, does not run and its time has come."""
        if self.is_running:
            return
        if self._process is not None:
            self._process, self._start_at = None, time.monotonic() + RESTART_S
        if self.is_wanted and time.monotonic() >= self._start_at:
            self._start()

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it runs."""
        if self.is_running:
            os.kill(self.pid, number)

    def children(self, word: str = "") -> list[psutil.Process]:
        """Those of its descendants that have `word` in their command line."""
        if not self.is_running:
            return []
        found = psutil.Process(self.pid).children(recursive=True)
        return [one for one in found if any(word in part for part in _command_line(one))]

    def thaw(self) -> None:
        """Let whatever is frozen go on."""
        self.send(signal.SIGCONT)
        for child in self.children():
            with suppress(psutil.Error):
                child.resume()

    def dismiss(self) -> None:
        """Ask it to end for good."""
        self.is_wanted = False
        self.thaw()
        self.send(signal.Signals(self._stop))

    def kill(self) -> None:
        """End it and its descendants at once, for good."""
        self.is_wanted = False
        for one in self.children():
            with suppress(psutil.Error):
                one.kill()
        self.send(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def stop(self, patience_s: float = 20.0) -> None:
        """End it for good."""
        self.dismiss()
        if self._process is None:
            return
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        self.before_start()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0, cwd="/"
            )


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []
