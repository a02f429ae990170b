"""Watches over a running stack and says what its supervisor does: what died, what was started again."""

from __future__ import annotations

import time

from cli.errors import StackError
from cli.stack.home import Home
from cli.stack.records import read_record
from cli.stack.state import State, read_state
from cli.stack.supervisor import ProcessState
from cli.steps import Steps

POLL_S = 0.5
FAILING = frozenset({"backoff", "fatal"})


def watch_stack(home: Home, state: State, steps: Steps) -> None:
    """Report until another command stops the stack.

    Raises:
        StackError: the supervisor itself died.
    """
    before = {process.name: process for process in state.supervisor.processes()}
    while True:
        time.sleep(POLL_S)
        if read_state(home) is None:
            steps.say("stopped by another command")
            return
        try:
            processes = state.supervisor.processes()
        except StackError:
            if _is_gone(home):
                raise StackError("the supervisor died") from None
            continue
        for process in processes:
            for line in changes(before.get(process.name), process):
                steps.say(line)
        before = {process.name: process for process in processes}


def changes(before: ProcessState | None, now: ProcessState) -> list[str]:
    """What there is to say about a process since it was last looked at."""
    if before is None or (before.pid, before.state) == (now.pid, now.state):
        return []
    lines = []
    if before.pid is not None and before.pid != now.pid:
        lines.append(f"[red]✗[/] {now.name} (pid {before.pid}) died")
    if now.pid is not None and before.pid != now.pid:
        lines.append(f"[green]✓[/] {now.name} started again (pid {now.pid})")
    if now.state in FAILING and before.state != now.state:
        lines.append(f"[red]✗[/] {now.name} keeps failing, trying again: {now.why}")
    return lines


def _is_gone(home: Home) -> bool:
    record = read_record(home.run / "supervisor.json")
    return record is None or record.process() is None
