"""Real servers for the tests: one PostgreSQL and one Redis a session, a fresh migrated database a test.

The servers are told by the kernel to stop when this process ends, so a killed run leaves none behind; the
folder such a run leaves is removed by the next one.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import settings
from psycopg import sql

from cli.stack.account import server_account
from cli.stack.binaries import postgres_binaries, redis_binary
from cli.stack.folders import private_folder
from cli.stack.launch import launch_command
from cli.stack.postgres import Postgres
from cli.stack.records import read_record, record_start
from cli.stack.redis import Redis

# The same examples at every run, so that a red run is about the change; `--hypothesis-profile=explore` looks further.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("same")

PREFIX = "skim-test-"
TEMPLATE = "skim_template"
# Nothing here outlives the session, so nothing is worth waiting for the disk.
FAST = (
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("autovacuum", "off"),
    ("shared_buffers", "64MB"),
    ("max_wal_size", "4GB"),
)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A short-named folder that the servers' account may enter, removed at the end."""
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o711)  # entered, not listed: the private folders inside belong to the servers' account
    record_start(folder / "session.json", os.getpid())
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[Postgres]:
    """A running PostgreSQL 18 that belongs to this session."""
    account = server_account()
    server = Postgres(
        binaries=postgres_binaries(account, server_folder / "binaries"),
        data=server_folder / "postgres",
        sockets=private_folder(server_folder / "pg", account),
        account=account,
        password=secrets.token_hex(16),
        settings=FAST,
    )
    server.prepare(sync=False)
    user = account.name if account.is_other else None
    command = launch_command(server.command, user=user, death_signal=signal.SIGINT)
    with _running(command, server_folder / "postgres.log", signal.SIGINT):
        server.wait()
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: Postgres) -> str:
    """SQLAlchemy address of an empty database that the whole session shares."""
    return postgres_server.url()


@pytest.fixture(scope="session")
def migrated_template(postgres_server: Postgres) -> str:
    """The name of a database at the head of the migrations, to copy and never to connect to."""
    bootstrap = pytest.importorskip("models.bootstrap", exc_type=ImportError)
    with postgres_server.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    upgrade: Callable[[str], object] = bootstrap.upgrade
    upgrade(postgres_server.url(TEMPLATE))
    return TEMPLATE


@contextmanager
def fresh_database(server: Postgres, template: str) -> Iterator[str]:
    """The address of a new copy of `template`, dropped afterwards whoever is still connected."""
    name = f"test_{secrets.token_hex(6)}"
    with server.connect() as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        yield server.url(name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database_url(postgres_server: Postgres, migrated_template: str) -> Iterator[str]:
    """SQLAlchemy address of a fresh migrated database."""
    with fresh_database(postgres_server, migrated_template) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server(server_folder: Path) -> Iterator[Redis]:
    """A running Redis that belongs to this session."""
    with own_redis(server_folder, "rd") as server:
        yield server


@contextmanager
def own_redis(folder: Path, name: str) -> Iterator[Redis]:
    """A Redis for nodes that must not take the messages of others; a short `name` keeps its path short."""
    account = server_account()
    server = Redis(
        binary=redis_binary(account, folder / "binaries"),
        data=folder / f"{name}-data",
        sockets=private_folder(folder / name, account),
        account=account,
        password=secrets.token_hex(16),
    )
    server.prepare()
    user = account.name if account.is_other else None
    command = launch_command(server.command, user=user, death_signal=signal.SIGTERM)
    with _running(command, folder / f"{name}.log", signal.SIGTERM):
        server.wait()
        yield server


@pytest.fixture(scope="session")
def redis_url(redis_server: Redis) -> str:
    """The broker's address as Celery takes it; `redis.from_url` wants scheme `unix` for `redis+socket`."""
    return redis_server.url


@contextmanager
def _running(command: list[str], log: Path, stop: signal.Signals) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd="/")
    try:
        yield
    finally:
        process.send_signal(stop)
        process.wait(timeout=30)


def _remove_abandoned() -> None:
    """Remove the folders of sessions that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(FileNotFoundError):  # another session that starts now removes it
            record = read_record(folder / "session.json")
            if folder.stat().st_uid == os.geteuid() and record is not None and record.process() is None:
                shutil.rmtree(folder, ignore_errors=True)
