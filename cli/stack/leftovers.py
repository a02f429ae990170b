"""What a killed supervisor left running: found by record and by the mark in its environment, stopped in order.

Two nets, because neither catches all: Postgres and Redis overwrite the memory their environment was in, and a
worker's own children have no record.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

from cli.stack.home import Home
from cli.stack.records import read_record

MARK = "SKIM_STACK"
SUPERVISOR = "supervisor"
STOPPED_LAST = ("flower", "api", "redis", "postgres")
GRACE_S = 20.0


@dataclass(frozen=True, slots=True)
class Leftover:
    """A process that belongs to the stack; `name` is empty for children without a record of their own."""

    name: str
    process: psutil.Process


def find_leftovers(home: Home, stack_id: str) -> list[Leftover]:
    """Living processes of the stack, the supervisor itself included, in stopping order."""
    recorded = []
    for path in sorted(home.run.glob("*.json")):
        record = read_record(path)
        process = record.process() if record else None
        if process is not None:
            recorded.append(Leftover(path.stem, process))
    known = {leftover.process.pid for leftover in recorded}
    children = [Leftover("", process) for process in _marked(stack_id) if process.pid not in known]
    return sorted([*recorded, *children], key=_stopping_order)


def stop_leftovers(leftovers: Sequence[Leftover], told: Callable[[str], None]) -> None:
    """Stop them one rank after another, killing what does not end in `GRACE_S`."""
    ranks: dict[int, list[Leftover]] = {}
    for leftover in leftovers:
        ranks.setdefault(_stopping_order(leftover), []).append(leftover)
    for _, rank in sorted(ranks.items()):
        for leftover in rank:
            if leftover.name:
                told(f"stopping {leftover.name} (pid {leftover.process.pid}), left behind")
            with contextlib.suppress(psutil.NoSuchProcess):
                leftover.process.send_signal(signal.SIGINT if leftover.name == "postgres" else signal.SIGTERM)
        _, stubborn = psutil.wait_procs([leftover.process for leftover in rank], timeout=GRACE_S)
        for process in stubborn:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(stubborn, timeout=5)


def _marked(stack_id: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == stack_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _stopping_order(leftover: Leftover) -> int:
    """The supervisor first, or it would restart what we stop; then workers and the rest; the servers last."""
    if leftover.name == SUPERVISOR:
        return 0
    if leftover.name.startswith("worker-"):
        return 1
    if leftover.name in STOPPED_LAST:
        return 3 + STOPPED_LAST.index(leftover.name)
    return 2
