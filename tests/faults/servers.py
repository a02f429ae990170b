"""A PostgreSQL and a Redis that may be killed, frozen and emptied: nobody else uses them."""

import secrets
import shutil
import signal
from pathlib import Path

from cli.stack.account import server_account
from cli.stack.binaries import postgres_binaries, redis_binary
from cli.stack.folders import private_folder
from cli.stack.launch import launch_command
from cli.stack.postgres import Postgres
from cli.stack.redis import Redis
from tests.faults.parts import Part

# Processes are killed here, never the machine: what the kernel has is safe, but a commit must have reached it.
SETTINGS = (("fsync", "off"), ("full_page_writes", "off"), ("autovacuum", "off"), ("shared_buffers", "64MB"))


def make_postgres(folder: Path, env: dict[str, str]) -> tuple[Postgres, Part]:
    """A new server and the process it will be. SIGINT is a fast shutdown."""
    account = server_account()
    server = Postgres(
        binaries=postgres_binaries(account, folder / "binaries"),
        data=folder / "fault-postgres",
        sockets=private_folder(folder / "fpg", account),
        account=account,
        password=secrets.token_hex(16),
        settings=SETTINGS,
    )
    server.prepare(sync=False)
    user = account.name if account.is_other else None
    command = launch_command(server.command, user=user, death_signal=signal.SIGINT)
    return server, Part("postgres", command, env, folder / "fault-postgres.log", signal.SIGINT)


def make_redis(folder: Path, env: dict[str, str]) -> tuple[Redis, Part]:
    """A new server, which forgets everything when it is started again, and the process it will be."""
    account = server_account()
    server = Redis(
        binary=redis_binary(account, folder / "binaries"),
        data=folder / "fault-redis",
        sockets=private_folder(folder / "frd", account),
        account=account,
        password=secrets.token_hex(16),
    )
    user = account.name if account.is_other else None
    part = Part(
        "redis",
        launch_command(server.command, user=user, death_signal=signal.SIGTERM),
        env,
        folder / "fault-redis.log",
    )

    def forget() -> None:
        shutil.rmtree(server.data, ignore_errors=True)
        server.prepare()

    part.before_start = forget
    return server, part
