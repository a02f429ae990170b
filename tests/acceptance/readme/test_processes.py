"""The processes of the README's table start as it says, on servers of one's own, and none of them loads torch.

Only the engine process may; it is started by a worker, which the acceptance tests of workers run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

HEAVY = frozenset({"torch", "torch.nn", "engine.loop", "safetensors"})
# Lines of `python -X importtime`: self [us] | cumulative | name. Modules that are imported by a variable's name are
# missing there, but not what they import in turn.
IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)
START_S = 60
# What the other processes are made of, each imported alone.
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

Commands = Mapping[str, list[str]]


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


def test_bootstrap(process_commands: Commands, environment: dict[str, str], root: Path, tmp_path: Path) -> None:
    command = _traced(process_commands["migrations, first key"])

    done = subprocess.run(
        command, env=environment, cwd=root, capture_output=True, text=True, timeout=START_S, check=False
    )

    assert done.returncode == 0, done.stderr
    assert re.search(r"\bsk-[\w-]{43}", done.stdout)
    assert HEAVY & set(IMPORTED.findall(done.stderr)) == set()


def test_api(
    process_commands: Commands,
    environment: dict[str, str],
    root: Path,
    tmp_path: Path,
    free_port: Callable[[], int],
) -> None:
    address = f"127.0.0.1:{free_port()}"
    log = tmp_path / "api.log"

    with _running(process_commands["API"], {**environment, "SKIM_API_BIND": address}, root, log):
        _until(lambda: _answers(f"http://{address}/readyz") and _answers(f"http://{address}/openapi.json"), log)

    _check(log, "api.app")


def test_control_node(process_commands: Commands, environment: dict[str, str], root: Path, tmp_path: Path) -> None:
    log = tmp_path / "control.log"

    with _running(process_commands["control node"], environment, root, log):
        _until(lambda: " ready." in log.read_text(), log)

    _check(log, "models.sweep")


def test_beat(process_commands: Commands, environment: dict[str, str], tmp_path: Path, root: Path) -> None:
    log = tmp_path / "beat.log"
    options = ["--pidfile", str(tmp_path / "beat.pid")]
    url = environment["SKIM_REDIS_URL"].replace("redis+socket://", "unix://")
    with Redis.from_url(url) as broker:
        broker.delete("control")

        with _running([*process_commands["beat"], *options], environment, root, log):
            _until(lambda: broker.llen("control") > 0, log)

    _check(log, "workers.settings")


def test_flower(
    process_commands: Commands,
    environment: dict[str, str],
    root: Path,
    tmp_path: Path,
    free_port: Callable[[], int],
) -> None:
    port = free_port()
    log = tmp_path / "flower.log"

    with _running([*process_commands["Flower"], f"--port={port}"], environment, root, log):
        _until(lambda: _answers(f"http://127.0.0.1:{port}/healthcheck"), log)

    _check(log, "workers.settings")


def _traced(command: list[str]) -> list[str]:
    """The command by the same interpreter as this test's, telling what it imports."""
    words = command[1:] if command[0] == "python" else ["-m", *command]
    return [sys.executable, "-X", "importtime", *words]


@contextmanager
def _running(command: list[str], environment: dict[str, str], root: Path, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(_traced(command), env=environment, cwd=root, stdout=output, stderr=output)
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
