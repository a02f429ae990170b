"""The API as it runs: gunicorn with the shipped configuration, on a port of loopback that was free."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx

ROOT = Path(__file__).resolve().parents[2]
DEAD_REDIS = "redis://127.0.0.1:9/0"  # nobody listens there


def free_port() -> int:
    """A port that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(database_url: str, redis_url: str = DEAD_REDIS, **extra: str) -> dict[str, str]:
    """That of a process of the service; nothing of ours is inherited."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKIM_")}
    return {**kept, "SKIM_DATABASE_URL": database_url, "SKIM_REDIS_URL": redis_url, **extra}


@contextmanager
def serving(
    log: IO[bytes], env: dict[str, str], application: str = "api.wsgi:app"
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address and the process, which may not answer yet; ended with the block."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "deploy/gunicorn.conf.py"), application]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**env, "SKIM_API_BIND": f"127.0.0.1:{port}"}, stdout=log, stderr=log
    )
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_until_live(url: str) -> None:
    """Return once it answers."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/livez").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the service did not start")
