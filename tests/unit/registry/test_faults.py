"""Fault points: nothing unless they were armed, and each order is obeyed once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models.faults import Point, points, reach


def test_a_point_does_nothing_in_a_process_that_was_not_armed() -> None:
    assert reach is points("")
    assert reach(Point.CLAIM_COMMITTED) is None  # type: ignore[func-returns-value]


def test_an_order_is_obeyed_once(tmp_path: Path) -> None:
    (tmp_path / Point.CLAIM_COMMITTED).touch()
    armed = points(str(tmp_path))

    for _ in range(2):
        armed(Point.CLAIM_COMMITTED)
        armed(Point.FINISH_READY)

    assert [path.name for path in tmp_path.iterdir()] == [f"{Point.CLAIM_COMMITTED}.{os.getpid()}"]


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_an_order_ends_the_process_there(tmp_path: Path, name: str) -> None:
    (tmp_path / Point.RECORD_COMMITTED).write_text(name)
    script = "from models.faults import Point, reach; reach(Point.RECORD_COMMITTED); print('went on')"

    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "SKIM_FAULTS": str(tmp_path)},
        capture_output=True,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (-signal.Signals[name], b"")


@pytest.mark.parametrize("num_threads", [1, 8])
def test_an_order_stops_the_thread_there_and_then(tmp_path: Path, num_threads: int) -> None:
    """A signal to the process may be another thread's, and this one would go on until that has its turn."""
    (tmp_path / Point.CLAIM_WRITTEN).write_text("SIGSTOP")
    script = f"""
import threading
from models.faults import Point, reach
def work():
    reach(Point.CLAIM_WRITTEN)
    print("went on", flush=True)
def compute():
    while True:
        pass
for target in [compute] * ({num_threads} - 1) + [work]:
    threading.Thread(target=target, daemon=True).start()
threading.Event().wait(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "SKIM_FAULTS": str(tmp_path)},
        stdout=subprocess.PIPE,
    )

    _, status = os.waitpid(process.pid, os.WUNTRACED)
    process.kill()
    said, _ = process.communicate()

    assert os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGSTOP
    assert said == b""
