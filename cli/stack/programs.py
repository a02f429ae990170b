"""The processes of a stack: what each one runs, and in which order they start and stop.

They start in ascending `order` and stop in descending: workers first, Postgres last.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from cli.errors import StackError
from cli.stack.account import Account
from cli.stack.ports import LOOPBACK
from cli.stack.postgres import Postgres
from cli.stack.redis import Redis

PYTHON = sys.executable
CELERY = [PYTHON, "-m", "celery", "--app", "workers.app"]
GUNICORN_CONFIG = Path(__file__).resolve().parents[2] / "deploy" / "gunicorn.conf.py"
FLOWER_USER = "skim"
FLOWER_TASKS = "1000"  # that it remembers, each in 5 KiB; its own limit is 100,000

NAMES = ("postgres", "redis", "api", "flower", "beat", "control")  # in starting order, workers after them
POSTGRES, REDIS, API, FLOWER, BEAT, CONTROL = NAMES


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process. `environment` comes on top of the stack's; `user` is None for the caller's own."""

    name: str
    order: int
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_wait_s: int = 15


def postgres(server: Postgres) -> Program:
    """The database. SIGINT is its stop that does not wait for clients."""
    return Program(
        POSTGRES, 10, tuple(server.command), user=_user(server.account), stop_signal=signal.SIGINT, stop_wait_s=60
    )


def redis(server: Redis) -> Program:
    """The broker."""
    return Program(REDIS, 20, tuple(server.command), user=_user(server.account))


def api(port: int) -> Program:
    """The HTTP server, on loopback."""
    if not GUNICORN_CONFIG.exists():
        raise StackError(f"{GUNICORN_CONFIG} is missing: the stack starts from a clone of the repository")
    address = f"{LOOPBACK}:{port}"
    command = (PYTHON, "-m", "gunicorn", "-c", str(GUNICORN_CONFIG), "--bind", address, "api.wsgi:app")
    return Program(API, 30, command)


def flower(port: int, password: str) -> Program:
    """Flower on loopback, read-only. The password goes by the environment: arguments are for all to see."""
    options = (f"--address={LOOPBACK}", f"--port={port}")
    settings = {
        "FLOWER_BASIC_AUTH": f"{FLOWER_USER}:{password}",
        "FLOWER_READ_ONLY": "true",
        "FLOWER_PERSISTENT": "false",
        "FLOWER_MAX_TASKS": FLOWER_TASKS,
    }
    return Program(FLOWER, 40, (*CELERY, "flower", *options), environment=tuple(settings.items()))


def beat() -> Program:
    """The clock. Its times are short and kept in memory: there is no schedule file to lose."""
    return Program(BEAT, 50, (*CELERY, "beat", "--pidfile", ""))


def control() -> Program:
    """The CPU node of sweeps and ringing, without torch."""
    node = ("--queues", "control,webhooks", "--pool", "threads", "--concurrency", "4", "--hostname", "control@%h")
    quiet = ("--without-gossip", "--without-mingle", "--heartbeat-interval", "10")  # nodes need not know of each other
    return Program(CONTROL, 60, (*CELERY, "worker", *node, *quiet, "--include", "workers.control,workers.webhooks"))


def worker(number: int, model: str, of: int) -> Program:
    """The `number`-th of `of` workers on the CPU, which share its cores."""
    name = f"worker-{number}"
    threads = max(1, (os.cpu_count() or 1) // of)
    command = (PYTHON, "-m", "workers.device", "--model", model, "--device", "cpu", "--name", name)
    return Program(name, 70, (*command, "--threads", str(threads)), stop_wait_s=30)


def _user(account: Account) -> str | None:
    return account.name if account.is_other else None
