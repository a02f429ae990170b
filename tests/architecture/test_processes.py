"""Only the engine process loads torch: the others are started for real, and what they import is looked at."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HEAVY = frozenset({"torch", "engine.loop", "safetensors"})
# Lines of `python -X importtime`: self [us] | cumulative | name.
IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)
CELERY = ("-m", "celery", "--app", "workers.app")
START_S = 60
# Modules that other processes are made of, each imported alone.
LIGHT = (
    "api.wsgi",
    "cli.main",
    "engine.errors",
    "engine.request",
    "engine.seeds",
    "engine.skipset",
    "models.bootstrap",
    "workers.app",
    "workers.control",
    "workers.device.__main__",
    "workers.queues",
    "workers.shards",
    "workers.text",
)


@pytest.fixture
def environment(database_url: str, redis_url: str, tmp_path: Path) -> dict[str, str]:
    """Real servers, and an empty SKIM_HOME."""
    ours = {"SKIM_DATABASE_URL": database_url, "SKIM_REDIS_URL": redis_url, "SKIM_HOME": str(tmp_path)}
    return {**os.environ, **ours, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("module", LIGHT)
def test_module_does_without_torch(module: str, environment: dict[str, str], root: Path) -> None:
    code = f"import sys, {module}; print(*sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert HEAVY & set(done.stdout.split()) == set()


def test_beat_runs_without_torch(environment: dict[str, str], root: Path, tmp_path: Path) -> None:
    command = [*CELERY, "beat", "--scheduler", "celery.beat:Scheduler", "--pidfile", "", "--loglevel", "info"]
    log = tmp_path / "beat.log"

    with _running(command, environment, root, log):
        _until(lambda: "Sending due task" in log.read_text(), log)

    _check(log, "workers.app")


def test_control_node_runs_without_torch(environment: dict[str, str], root: Path, tmp_path: Path) -> None:
    command = [*CELERY, "worker", "--queues", "control", "--pool", "threads", "--concurrency", "1"]
    log = tmp_path / "control.log"

    with _running([*command, "--include", "workers.control", "--loglevel", "info"], environment, root, log):
        _until(lambda: " ready." in log.read_text(), log)

    _check(log, "workers.control")


def test_api_runs_without_torch(environment: dict[str, str], root: Path, tmp_path: Path) -> None:
    address = f"127.0.0.1:{_free_port()}"
    command = ["-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "--bind", address, "api.wsgi:app"]
    log = tmp_path / "api.log"

    with _running(command, environment, root, log):
        _until(lambda: _answers(f"http://{address}/readyz") and _answers(f"http://{address}/openapi.json"), log)

    _check(log, "api.wsgi")


@contextmanager
def _running(arguments: list[str], environment: dict[str, str], root: Path, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", *arguments], env=environment, cwd=root, stdout=output, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _check(log: Path, expected: str) -> None:
    imported = set(IMPORTED.findall(log.read_text()))

    assert expected in imported
    assert HEAVY & imported == set()


def _until(is_true: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not is_true():
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - our own address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
