"""What is known of a running stack: its addresses, kept in SKIM_HOME/run/state.json (0600)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cli.stack.account import caller
from cli.stack.folders import write_private
from cli.stack.home import Home
from cli.stack.leftovers import find_leftovers
from cli.stack.programs import NAMES
from cli.stack.records import read_record
from cli.stack.supervisor import ProcessState, Supervisor

LEFT_BEHIND = "left behind"


@dataclass(frozen=True, slots=True)
class State:
    """Addresses hold passwords. `is_ready` turns true when the start went through."""

    api_url: str
    flower_url: str
    database_url: str
    redis_url: str
    supervisor_socket: str
    model: str
    num_workers: int
    is_ready: bool = False

    @property
    def supervisor(self) -> Supervisor:
        """The client of this stack's supervisor."""
        return Supervisor(Path(self.supervisor_socket))


@dataclass(frozen=True, slots=True)
class Status:
    """The answer to `skim status`. Without a running stack, `processes` are those left behind."""

    state: State | None
    processes: tuple[ProcessState, ...]

    def document(self) -> dict[str, object]:
        """As `skim status --json` prints it."""
        return {
            "running": self.state is not None,
            "api_url": self.state and self.state.api_url,
            "flower_url": self.state and self.state.flower_url,
            "database_url": self.state and self.state.database_url,
            "redis_url": self.state and self.state.redis_url,
            "processes": [{"name": p.name, "pid": p.pid, "state": p.state} for p in self.processes],
        }


def write_state(home: Home, state: State) -> None:
    """Keep `state` for the other commands."""
    write_private(_path(home), json.dumps(asdict(state)), caller())


def mark_ready(home: Home, state: State) -> State:
    """Keep that the start went through."""
    ready = replace(state, is_ready=True)
    write_state(home, ready)
    return ready


def forget_state(home: Home) -> None:
    """The stack is no longer to be used."""
    _path(home).unlink(missing_ok=True)


def read_state(home: Home) -> State | None:
    """The state last kept, whether or not anything of it still runs."""
    try:
        return State(**json.loads(_path(home).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def running_state(home: Home) -> State | None:
    """The state of the stack if its supervisor answers."""
    state = read_state(home)
    return state if state is not None and state.supervisor.answers() else None


def status(home: Home) -> Status:
    """What runs now."""
    state = running_state(home)
    if state is not None:
        return Status(state, tuple(sorted(state.supervisor.processes(), key=_starting_order)))
    if not home.root.is_dir() or not home.has_secrets:
        return Status(None, ())
    leftovers = find_leftovers(home, home.secrets().stack_id)
    named = (leftover for leftover in leftovers if leftover.name)
    return Status(None, tuple(ProcessState(one.name, one.process.pid, LEFT_BEHIND, "") for one in named))


def num_restarts(home: Home, name: str) -> int:
    """How often a process was started again since the stack came up."""
    record = read_record(home.run / f"{name}.json")
    return record.starts - 1 if record else 0


def _starting_order(process: ProcessState) -> tuple[int, str]:
    """Servers, services, then workers by number."""
    known = process.name in NAMES
    return NAMES.index(process.name) if known else len(NAMES), process.name


def _path(home: Home) -> Path:
    return home.run / "state.json"
