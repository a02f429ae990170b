"""Writes the supervisor's configuration: text in, text out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from cli.stack.launch import launch_command
from cli.stack.programs import Program

# Two seconds up count as started; one that fails before is tried again after 1, 2, 3, ... s.
HEADER = """\
[unix_http_server]
file={socket}
chmod=0700

[supervisord]
logfile={logs}/supervisor.log
pidfile={run}/supervisor.pid
childlogdir={logs}
directory={run}
nodaemon=true
silent=true
{user}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

PROGRAM = """
[program:{name}]
command={command}
directory={run}
priority={order}
autostart=false
autorestart=true
startsecs=2
startretries=100
stopsignal={signal}
stopwaitsecs={stop_wait_s}
killasgroup=true
environment={environment}
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
redirect_stderr=true
"""


def supervisor_configuration(programs: Iterable[Program], *, socket: Path, run: Path, logs: Path, is_root: bool) -> str:
    """The whole file. Each program is started through cli.stack.launch, which leaves its record in `run`."""
    header = HEADER.format(
        socket=_escape(str(socket)),
        logs=_escape(str(logs)),
        run=_escape(str(run)),
        user="user=root\n" if is_root else "",  # asked for outright, or it warns at every start
    )
    return header + "".join(_program(program, run, logs) for program in programs)


def _program(program: Program, run: Path, logs: Path) -> str:
    command = launch_command(list(program.command), user=program.user, record=run / f"{program.name}.json")
    environment = ",".join(f'{name}="{_escape(value)}"' for name, value in program.environment)
    return PROGRAM.format(
        name=program.name,
        command=_escape(shlex.join(command)),
        run=_escape(str(run)),
        logs=_escape(str(logs)),
        order=program.order,
        signal=program.stop_signal.name.removeprefix("SIG"),
        stop_wait_s=program.stop_wait_s,
        environment=environment,
    )


def _escape(text: str) -> str:
    """The file is expanded with `%`."""
    return text.replace("%", "%%")
