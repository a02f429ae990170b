"""Talks to the stack's supervisor over its unix socket, and starts one.

The supervisor is the library `supervisor` in a process of its own session: a Ctrl-C on the terminal reaches only the
command, which then stops the stack in order.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
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
        """All processes, in starting order.

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

    def shut_down(self) -> None:
        """Have it stop all processes in order and end; returns at once."""
        self._call("shutdown")

    def _call(self, method: str, *arguments: object) -> Any:
        proxy = xmlrpc.ServerProxy("http://localhost", transport=_UnixTransport(self.path))
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.Fault as fault:
            raise StackError(f"the supervisor refused {method}: {fault.faultString}") from fault
        except (OSError, http.client.HTTPException, xmlrpc.ProtocolError) as error:
            raise StackError(f"the supervisor does not answer: {error}") from error


def start_supervisor(
    configuration: Path, record: Path, log: Path, environment: Mapping[str, str], *, dies_with_caller: bool
) -> subprocess.Popen[bytes]:
    """Start the supervisor, which hands `environment` down to everything it starts."""
    command = [sys.executable, "-P", "-m", "supervisor.supervisord", "-n", "-c", str(configuration)]
    death_signal = signal.SIGTERM if dies_with_caller else None
    with log.open("ab") as output:
        return subprocess.Popen(
            launch_command(command, record=record, death_signal=death_signal),
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )


def await_supervisor(process: subprocess.Popen[bytes], supervisor: Supervisor, log: Path) -> None:
    """Return once it answers.

    Raises:
        StackError: it ended or stayed silent; names its log.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while not supervisor.answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise StackError(f"the supervisor did not start: see {log}")
        time.sleep(0.05)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class _UnixTransport(xmlrpc.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        return _UnixConnection(self.path)
