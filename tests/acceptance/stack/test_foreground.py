"""`skim up` in the foreground: however it ends, nothing is left running; what dies meanwhile is told."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.demo, pytest.mark.timeout(900)]


@contextmanager
def _foreground(skim: Any, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(skim.command("up", *skim.ports), env=skim.environment, stdout=output, stderr=output)
    try:
        _until(lambda: "Ctrl-C stops everything" in log.read_text() or process.poll() is not None, timeout_s=240)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_stack_leaves_nothing(skim: Any, tmp_path: Path, ending: signal.Signals) -> None:
    with _foreground(skim, tmp_path / "log") as process:
        assert len(skim.living()) > len(("supervisor", "postgres", "redis", "api", "flower", "beat", "control"))
        process.send_signal(ending)
        process.send_signal(ending)  # an impatient second one changes nothing
        assert process.wait(timeout=90) == 0

    assert skim.living() == []


def test_killed_command_takes_the_stack_along(skim: Any, tmp_path: Path) -> None:
    with _foreground(skim, tmp_path / "log") as process:
        process.kill()
        process.wait()
        _until(lambda: not skim.living(), timeout_s=60)


def test_killed_supervisor_leaves_work_for_the_next_start(skim: Any, tmp_path: Path) -> None:
    with _foreground(skim, tmp_path / "log") as process:
        supervisor = _pid(skim, "supervisor")
        before = skim.living()
        os.kill(supervisor, signal.SIGKILL)
        assert process.wait(timeout=90) == 3
        assert "the supervisor died" in (tmp_path / "log").read_text()
    _until(lambda: not any(one.is_running() for one in before), timeout_s=10)

    assert skim.living() == []


def test_death_of_a_process_is_told(skim: Any, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with _foreground(skim, log) as process:
        pid = skim.pid("beat")
        os.kill(pid, signal.SIGKILL)
        _until(lambda: "beat started again" in log.read_text(), timeout_s=20)
        assert f"beat (pid {pid}) died" in log.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=90) == 0


def test_down_from_elsewhere_ends_the_foreground(skim: Any, tmp_path: Path) -> None:
    with _foreground(skim, tmp_path / "log") as process:
        assert skim("down").returncode == 0
        assert process.wait(timeout=30) == 0

    assert "stopped by another command" in (tmp_path / "log").read_text()


def _pid(skim: Any, name: str) -> int:
    found: list[psutil.Process] = [one for one in skim.living() if "supervisor.supervisord" in one.cmdline()]
    assert len(found) == 1, name
    return found[0].pid


def _until(is_true: Callable[[], bool], *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
