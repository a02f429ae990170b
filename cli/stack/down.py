"""Stops a stack in order: workers, control node, beat, Flower, API, Redis, Postgres, then the supervisor."""

from __future__ import annotations

import time

from cli.errors import StackError
from cli.stack.home import Home
from cli.stack.leftovers import find_leftovers, stop_leftovers
from cli.stack.plan import remove_sockets
from cli.stack.records import read_record
from cli.stack.state import forget_state, read_state
from cli.stack.supervisor import Supervisor
from cli.steps import Steps

STOP_TIMEOUT_S = 90.0
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
    """Ask the supervisor to stop all in order, and report as they go; False if there is no supervisor."""
    try:
        waiting = {process.name for process in supervisor.processes() if process.state not in STOPPED}
        supervisor.shut_down()
    except StackError:
        return False
    record = read_record(home.run / "supervisor.json")
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while record is not None and record.process() is not None and time.monotonic() < deadline:
        waiting -= _report_stopped(supervisor, waiting, steps)
        time.sleep(0.1)
    for name in sorted(waiting):
        steps.say(f"[green]✓[/] {name} stopped")
    return True


def _report_stopped(supervisor: Supervisor, waiting: set[str], steps: Steps) -> set[str]:
    try:
        stopped = {process.name for process in supervisor.processes() if process.state in STOPPED}
    except StackError:  # it has ended, or closed its socket on the way
        return set()
    for name in sorted(stopped & waiting):
        steps.say(f"[green]✓[/] {name} stopped")
    return stopped & waiting
