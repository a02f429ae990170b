"""The servers behind the fixtures are the real ones, and they end with the process that asked for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import psycopg
import redis

from cli.stack.postgres import Postgres
from cli.stack.redis import Redis


def test_postgres_is_version_18_without_a_network(postgres_server: Postgres) -> None:
    with postgres_server.connect() as connection:
        version = connection.execute("SHOW server_version_num").fetchone()
        addresses = connection.execute("SHOW listen_addresses").fetchone()

    assert version is not None and version[0].startswith("18")
    assert addresses == ("",)


def test_postgres_refuses_a_wrong_password(postgres_server: Postgres) -> None:
    try:
        psycopg.connect(host=str(postgres_server.sockets), user="skim", password="wrong", dbname="skim")
    except psycopg.OperationalError as error:
        assert "password authentication failed" in str(error)
    else:
        raise AssertionError("a wrong password was let in")


def test_redis_keeps_everything_and_asks_for_a_password(redis_server: Redis) -> None:
    with redis.Redis(unix_socket_path=str(redis_server.socket), password=redis_server.password) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    with redis.Redis(unix_socket_path=str(redis_server.socket)) as stranger:
        try:
            stranger.ping()
        except redis.AuthenticationError:
            return
    raise AssertionError("no password was asked for")


def test_killed_session_takes_its_servers_along(tmp_path: Path) -> None:
    """kill -9 of a pytest run leaves no server behind."""
    (tmp_path / "conftest.py").write_text(Path(__file__).parents[2].joinpath("conftest.py").read_text())
    pids = tmp_path / "pids"
    (tmp_path / "test_hang.py").write_text(
        textwrap.dedent(
            f"""
            import os, pathlib, psutil, time
            def test_hang(postgres_url, redis_url):
                children = psutil.Process().children(recursive=True)
                lines = [f"{{p.pid}} {{p.create_time()}}" for p in children]
                pathlib.Path({str(pids)!r}).write_text("\\n".join(lines))
                time.sleep(60)
            """
        )
    )
    session = subprocess.Popen([sys.executable, "-m", "pytest", "-q", str(tmp_path)], stdout=subprocess.DEVNULL)
    try:
        _until(pids.exists, timeout_s=60)
    finally:
        os.kill(session.pid, signal.SIGKILL)
        session.wait()
    started = [line.split() for line in pids.read_text().splitlines()]

    assert len(started) >= 2
    _until(lambda: not any(_lives(int(pid), float(created)) for pid, created in started), timeout_s=15)


def _lives(pid: int, create_time: float) -> bool:
    try:
        process = psutil.Process(pid)
        return process.create_time() == create_time and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(is_true: object, *, timeout_s: float) -> None:
    assert callable(is_true)
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
