"""Waits until a starting stack can be used: its API answers, its model is registered, its workers are ready."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from cli.client import Client
from cli.errors import Missing, StackError
from cli.settings import Settings
from cli.stack import demo_model
from cli.stack.home import Home
from cli.stack.programs import API
from cli.stack.state import State
from cli.stack.supervisor import Supervisor

API_TIMEOUT_S = 60
WORKER_TIMEOUT_S = 300
FAILING = frozenset({"backoff", "fatal"})


def local_key(home: Home) -> str | None:
    """The key in SKIM_HOME/credentials, or None where there is none."""
    try:
        return str(json.loads(home.credentials.read_text())["api_key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stack_key(home: Home, settings: Settings) -> str:
    """The local key, else SKIM_API_KEY.

    Raises:
        StackError: there is neither, because the registry had keys before this home did.
    """
    key = local_key(home) or settings.api_key
    if key is None:
        raise StackError(f"the registry has keys but {home.credentials} is missing: restore it or set SKIM_API_KEY")
    return key


def await_api(home: Home, state: State) -> None:
    """Return once the API answers and reaches its database.

    Raises:
        StackError: it keeps failing, or did not answer in time.
    """
    with Client(state.api_url, None) as client:

        def is_ready() -> bool:
            _check_starting(home, state.supervisor, API)
            return client.is_ready()

        _until(is_ready, API_TIMEOUT_S, f"the API did not get ready: see {home.logs / API}.log")


def await_workers(home: Home, client: Client, state: State) -> None:
    """Return once all workers of the stack are ready; each needs seconds to load its model.

    Raises:
        StackError: they did not get ready in time.
    """

    def are_ready() -> bool:
        rows = client.workers()["data"]
        ready = [row for row in rows if row["model"] == state.model and row["is_live"] and row["status"] == "ready"]
        return len(ready) >= state.num_workers

    logs = home.logs / "worker-*.log"
    _until(are_ready, WORKER_TIMEOUT_S, f"the workers were not ready after {WORKER_TIMEOUT_S} s: see {logs}")


def ensure_model(home: Home, state: State, key: str) -> None:
    """Register the demo model, or see that the model asked for is registered.

    Raises:
        StackError: it is not.
    """
    with Client(state.api_url, key) as client:
        if state.model == demo_model.NAME:
            demo_model.register(client, home)
            return
        try:
            client.model(state.model)
        except Missing:
            raise StackError(f"model {state.model} is not registered: skim models add {state.model}") from None


def _check_starting(home: Home, supervisor: Supervisor, name: str) -> None:
    """Raise with the last line of its log if the process keeps failing."""
    state = next(process.state for process in supervisor.processes() if process.name == name)
    if state in FAILING:
        log = home.logs / f"{name}.log"
        lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
        raise StackError(f"{name} does not start: {lines[-1] if lines else 'no output'} (log: {log})")


def _until(is_true: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            raise StackError(otherwise)
        time.sleep(0.1)
