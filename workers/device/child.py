"""A child process that is kept running: started anew when it ends, later and later if it ends soon."""

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

import structlog

log = structlog.get_logger(__name__)

FIRST_DELAY_S = 0.5
MOST_DELAY_S = 30.0
STEADY_S = 10.0  # a child that ran this long starts with the first delay again


class Child:
    """One process at a time. Must be driven by the thread that lives as long as the supervisor (see tether)."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        self.num_starts = 0
        self._command = list(command)
        self._env = dict(env)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._delay_s = FIRST_DELAY_S
        self._start_at = 0.0

    @property
    def was_started(self) -> bool:
        return self._started_at > 0

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def keep(self) -> int | None:
        """Start it if it does not run and its time has come. Returns the exit status of one that has just ended."""
        if self.is_running:
            return None
        status = self._bury()
        if self._process is None and time.monotonic() >= self._start_at:
            # A process group of its own: Ctrl-C reaches the supervisor alone, which stops its children in order.
            self._process = subprocess.Popen(self._command, env=self._env, stdin=subprocess.DEVNULL, process_group=0)
            self._started_at = time.monotonic()
            self.num_starts += 1
        return status

    def terminate(self) -> None:
        if self.is_running and self._process is not None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self.is_running and self._process is not None:
            self._process.kill()
            self._process.wait()

    def trust(self) -> None:
        """It came up: should it end now, it is not for a fault of its start, and there is no reason to wait long."""
        self._delay_s = FIRST_DELAY_S

    def _bury(self) -> int | None:
        """Note the end of the process and when the next one may start."""
        if self._process is None:
            return None
        status = self._process.returncode
        if time.monotonic() - self._started_at > STEADY_S:
            self._delay_s = FIRST_DELAY_S
        self._start_at = time.monotonic() + self._delay_s
        log.warning("child ended", child=self.name, status=status, restart_in_s=self._delay_s)
        self._delay_s = min(2 * self._delay_s, MOST_DELAY_S)
        self._process = None
        return status
