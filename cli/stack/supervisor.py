"""Talks to the stack's supervisor over its unix socket, and starts one.

The supervisor is the library `supervisor` in a process of its own session: a Ctrl-C on the terminal reaches only the
command, which then stops the stack in order.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from xmlrpc import client as xmlrpc

from cli.errors import StackError
from cli.stack.launch import launch_command

START_TIMEOUT_S = 15


class Refusal(StackError):
    """The supervisor is there and will not do it."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What the supervisor knows of a process. `pid` is None while it is not running; `why` is its last exit."""

    name: str
    pid: int | None
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Supervisor:
    """A client of the supervisor that listens on `path`."""

    path: Path

    def answers(self) -> bool:
        """Whether a supervisor is there and not going down."""
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except StackError:
            return False

    def processes(self) -> list[ProcessState]:
        """All processes, by name.

        Raises:
            StackError: the supervisor does not answer.
        """
        rows = cast(list[dict[str, Any]], self._call("getAllProcessInfo"))
        return [
            ProcessState(
                name=row["name"],
                pid=row["pid"] or None,
                state=row["statename"].lower(),
                why=row["spawnerr"] or row["description"],
            )
            for row in rows
        ]

    def start(self, name: str) -> None:
        """Start a process and return at once."""
        self._call("startProcess", name, False)

    def stop(self, name: str) -> None:
        """Ask a process to stop and return at once; one that has stopped is left alone."""
        with contextlib.suppress(Refusal):
            self._call("stopProcess", name, False)

    def shut_down(self) -> None:
        """Have it stop all processes in order and end; returns at once."""
        self._call("shutdown")

    def _call(self, method: str, *arguments: object) -> Any:
        try:
            with xmlrpc.ServerProxy("http://localhost", transport=_UnixTransport(self.path)) as proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.Fault as fault:
            raise Refusal(f"the supervisor refused {method}: {fault.faultString}") from fault
        except (OSError, http.client.HTTPException, xmlrpc.ProtocolError) as error:
            raise StackError(f"the supervisor does not answer: {error}") from error


def start_supervisor(
    configuration: Path, record: Path, log: Path, environment: Mapping[str, str], *, dies_with_caller: bool
) -> int:
    """Start the supervisor, which hands `environment` down to everything it starts, and return its pid.

    Spawned without a `Popen`, because it may well outlive this process.
    """
    supervisor = [sys.executable, "-P", "-m", "supervisor.supervisord", "-n", "-c", str(configuration)]
    death_signal = signal.SIGTERM if dies_with_caller else None
    command = launch_command(supervisor, record=record, death_signal=death_signal)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        command[0],
        command,
        {**os.environ, **environment},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def await_supervisor(pid: int, supervisor: Supervisor, log: Path) -> None:
    """Return once it answers.

    Raises:
        StackError: it ended or stayed silent; names its log.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while not supervisor.answers():
        if os.waitpid(pid, os.WNOHANG) != (0, 0) or time.monotonic() > deadline:
            raise StackError(f"the supervisor did not start: see {log}")
        time.sleep(0.05)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(self.timeout)
            self.sock.connect(str(self.path))
        except OSError:
            self.sock.close()
            raise


class _UnixTransport(xmlrpc.Transport):
    """One connection for the life of the proxy, which closes it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.connection = _UnixConnection(path)

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        return self.connection

    def close(self) -> None:
        self.connection.close()
