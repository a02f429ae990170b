"""What is said when a process of the stack dies and comes back."""

from __future__ import annotations

import pytest

from cli.stack.supervisor import ProcessState
from cli.stack.watch import changes

RUNNING = ProcessState("beat", 10, "running", "pid 10")
AGAIN = ProcessState("beat", 11, "starting", "")
FAILING = ProcessState("beat", None, "backoff", "Exited too quickly")


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (RUNNING, RUNNING, []),
        (None, RUNNING, []),
        (RUNNING, AGAIN, ["beat (pid 10) died", "beat started again (pid 11)"]),
        (RUNNING, FAILING, ["beat (pid 10) died", "beat keeps failing, trying again: Exited too quickly"]),
        (FAILING, AGAIN, ["beat started again (pid 11)"]),
        (FAILING, FAILING, []),
    ],
)
def test_changes_are_told_once(before: ProcessState | None, now: ProcessState, said: list[str]) -> None:
    lines = changes(before, now)

    assert [line.partition(" ")[2] for line in lines] == said
