"""Turns options and a home into everything a start needs: servers, programs, environment, state."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from cli.errors import StackError
from cli.settings import Settings
from cli.stack import programs
from cli.stack.account import Account, caller, server_account
from cli.stack.binaries import postgres_binaries, redis_binary
from cli.stack.folders import private_folder, remove_socket_folder, socket_folder, write_private
from cli.stack.home import Home
from cli.stack.leftovers import MARK
from cli.stack.ports import LOOPBACK, free_ports, is_free
from cli.stack.postgres import Postgres
from cli.stack.programs import Program
from cli.stack.redis import Redis
from cli.stack.state import State

SUPERVISOR_SOCKET, POSTGRES_SOCKET, REDIS_SOCKET = "sv", "pg", "rd"


@dataclass(frozen=True, slots=True)
class Options:
    """What `skim up` was asked for."""

    port: int
    flower_port: int
    num_workers: int
    model: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A stack about to start. `postgres` and `redis` are None where the environment names others to use."""

    state: State
    postgres: Postgres | None
    redis: Redis | None
    servers: tuple[Program, ...]
    services: tuple[Program, ...]
    workers: tuple[Program, ...]
    environment: dict[str, str]

    @property
    def programs(self) -> tuple[Program, ...]:
        """All of them, in starting order."""
        return (*self.servers, *self.services, *self.workers)


def make_plan(home: Home, settings: Settings, options: Options, account: Account) -> Plan:
    """Decide everything, start nothing.

    Raises:
        StackError: a wheel is missing or a folder cannot be trusted.
    """
    made = home.secrets()
    postgres = None if settings.database_url else _postgres(home, account, made.postgres)
    redis = None if settings.redis_url else _redis(home, account, made.redis)
    state = State(
        api_url=f"http://{LOOPBACK}:{options.port}",
        flower_url=f"http://{LOOPBACK}:{options.flower_port}",
        database_url=settings.database_url or (postgres.url() if postgres else ""),
        redis_url=settings.redis_url or (redis.url if redis else ""),
        supervisor_socket=str(socket_folder(home.root, caller(), SUPERVISOR_SOCKET) / "supervisor.sock"),
        model=options.model,
        num_workers=options.num_workers,
    )
    numbers = range(1, options.num_workers + 1)
    return Plan(
        state=state,
        postgres=postgres,
        redis=redis,
        servers=_server_programs(postgres, redis),
        services=(
            programs.api(options.port),
            programs.flower(options.flower_port, flower_password(home)),
            programs.beat(),
            programs.control(),
        ),
        workers=tuple(programs.worker(number, options.model, options.num_workers) for number in numbers),
        environment={
            "SKIM_HOME": str(home.root),
            "SKIM_DATABASE_URL": state.database_url,
            "SKIM_REDIS_URL": state.redis_url,
            "SKIM_CPU_ENGINES": str(max(1, options.num_workers)),
            MARK: made.stack_id,
        },
    )


def remove_sockets(home: Home) -> None:
    """Remove the folders of the sockets of a stack that is down."""
    remove_socket_folder(home.root, caller(), SUPERVISOR_SOCKET)
    for name in (POSTGRES_SOCKET, REDIS_SOCKET):
        remove_socket_folder(home.root, server_account(), name)


def flower_password(home: Home) -> str:
    """Flower's password, made at the first call."""
    if not home.flower_password.exists():
        write_private(home.flower_password, secrets.token_urlsafe(15) + "\n", caller())
    return home.flower_password.read_text().strip()


def check_ports(options: Options) -> None:
    """Raises:
    StackError: a port is taken; names free ones near it.
    """
    asked = {"--port": options.port, "--flower-port": options.flower_port}
    if options.port == options.flower_port:
        raise StackError(f"--port and --flower-port are both {options.port}")
    for option, port in asked.items():
        if not is_free(port):
            others = ", ".join(str(other) for other in free_ports(port, besides=frozenset(asked.values())))
            raise StackError(f"port {port} is taken; free are {others}: use {option}")


def _postgres(home: Home, account: Account, password: str) -> Postgres:
    servers = _enter(home.servers)
    return Postgres(
        binaries=postgres_binaries(account, servers / "binaries"),
        data=servers / "postgres",
        sockets=socket_folder(home.root, account, POSTGRES_SOCKET),
        account=account,
        password=password,
    )


def _redis(home: Home, account: Account, password: str) -> Redis:
    servers = _enter(home.servers)
    return Redis(
        binary=redis_binary(account, servers / "binaries"),
        data=private_folder(servers / "redis", account),
        sockets=socket_folder(home.root, account, REDIS_SOCKET),
        account=account,
        password=password,
    )


def _enter(servers: Path) -> Path:
    """The folder itself rather than a link in a home that the account may not enter."""
    return servers.resolve()


def _server_programs(postgres: Postgres | None, redis: Redis | None) -> tuple[Program, ...]:
    found = []
    if postgres is not None:
        found.append(programs.postgres(postgres))
    if redis is not None:
        found.append(programs.redis(redis))
    return tuple(found)
