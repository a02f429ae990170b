"""Stops a stack in order: workers, control node, beat, Flower, API, Redis, Postgres, then the supervisor."""

from __future__ import annotations

import time
from collections.abc import Iterable

from cli.errors import StackError
from cli.stack.home import Home
from cli.stack.leftovers import find_leftovers, stop_leftovers
from cli.stack.plan import remove_sockets
from cli.stack.programs import NAMES
from cli.stack.records import read_record
from cli.stack.state import forget_state, read_state
from cli.stack.supervisor import Supervisor
from cli.steps import Steps

STOP_TIMEOUT_S = 90.0
POLL_S = 0.05
STOPPED = frozenset({"stopped", "exited", "fatal"})


def take_down(home: Home, steps: Steps) -> bool:
    """Stop everything of the stack that lives, whoever started it; whether there was anything.

    Raises:
        StackError: something could not be stopped.
    """
    if not home.has_secrets:
        return False
    state = read_state(home)
    forget_state(home)
    was_running = state is not None and _shut_down(home, state.supervisor, steps)
    leftovers = find_leftovers(home, home.secrets().stack_id)
    stop_leftovers(leftovers, steps.say)
    alive = [one.process.pid for one in leftovers if one.process.is_running()]
    if alive:
        raise StackError(f"still running: {', '.join(map(str, alive))}")
    remove_sockets(home)
    return was_running or bool(leftovers)


def _shut_down(home: Home, supervisor: Supervisor, steps: Steps) -> bool:
    """Have the supervisor stop all in order, telling so as they go; False if there is no supervisor."""
    try:
        names = [process.name for process in supervisor.processes() if process.state not in STOPPED]
        for rank in stopping_ranks(names):
            _stop_rank(supervisor, rank, steps)
        supervisor.shut_down()
    except StackError:
        return False
    record = read_record(home.run / "supervisor.json")
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while record is not None and record.process() is not None and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return True


def stopping_ranks(names: Iterable[str]) -> list[list[str]]:
    """The reverse of the starting order; workers go together."""
    ranks: dict[int, list[str]] = {}
    for name in names:
        ranks.setdefault(NAMES.index(name) if name in NAMES else len(NAMES), []).append(name)
    return [sorted(rank) for _, rank in sorted(ranks.items(), reverse=True)]


def _stop_rank(supervisor: Supervisor, rank: list[str], steps: Steps) -> None:
    """Stop these together, and return when all have (the supervisor kills what does not in its time)."""
    began = time.monotonic()
    for name in rank:
        supervisor.stop(name)
    waiting = set(rank)
    while waiting and time.monotonic() - began < STOP_TIMEOUT_S:
        stopped = waiting & {one.name for one in supervisor.processes() if one.state in STOPPED}
        for name in sorted(stopped):
            steps.say(f"[green]✓[/] {name} stopped [dim]{time.monotonic() - began:.1f} s[/]")
        waiting -= stopped
        time.sleep(POLL_S if waiting else 0)
