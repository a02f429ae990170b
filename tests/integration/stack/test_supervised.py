"""The servers under their supervisor: killed and restarted, orphaned and stopped, data kept, folders private."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import redis as redis_client

from cli.stack.account import server_account
from cli.stack.down import take_down
from cli.stack.home import Home
from cli.stack.leftovers import find_leftovers
from cli.stack.plan import Plan
from cli.stack.records import read_record
from cli.stack.redis import Redis
from cli.stack.state import LEFT_BEHIND, num_restarts, running_state, status
from cli.steps import Steps

Start = Callable[[], Plan]


def test_killed_server_is_started_again_with_its_data(start: Start, home: Home) -> None:
    plan = start()
    assert plan.postgres is not None
    assert plan.redis is not None
    with plan.postgres.connect("skim") as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('still here')")
    with _client(plan.redis) as client:
        client.set("kept", "still here")
        time.sleep(1.1)  # the file is synchronised every second

    for name in ("postgres", "redis"):
        os.kill(_pid(home, name), signal.SIGKILL)
    _until(lambda: min(num_restarts(home, name) for name in ("postgres", "redis")) >= 1, timeout_s=15)
    plan.postgres.wait()
    plan.redis.wait()

    with plan.postgres.connect("skim") as connection:
        assert connection.execute("SELECT word FROM kept").fetchone() == ("still here",)
    with _client(plan.redis) as client:
        assert client.get("kept") == b"still here"


def test_leftovers_of_a_killed_supervisor_are_shown_and_stopped(start: Start, home: Home, quiet: Steps) -> None:
    start()
    supervisor, *servers = (psutil.Process(_pid(home, name)) for name in ("supervisor", "postgres", "redis"))
    supervisor.kill()
    # its socket closes before the process is gone, and until then it is a leftover like the others
    _until(lambda: not supervisor.is_running() or supervisor.status() == psutil.STATUS_ZOMBIE, timeout_s=15)
    assert running_state(home) is None

    found = status(home)

    assert found.document()["running"] is False
    assert {(one.name, one.state) for one in found.processes} == {
        ("postgres", LEFT_BEHIND),
        ("redis", LEFT_BEHIND),
    }
    assert take_down(home, quiet)
    assert not any(process.is_running() for process in servers)


def test_start_after_a_killed_supervisor_begins_with_the_old_data(start: Start, home: Home, quiet: Steps) -> None:
    first = start()
    assert first.postgres is not None
    with first.postgres.connect("skim") as connection:
        connection.execute("CREATE TABLE kept (word text)")
    os.kill(_pid(home, "supervisor"), signal.SIGKILL)

    take_down(home, quiet)
    second = start()

    assert second.state.database_url == first.state.database_url
    assert second.postgres is not None
    with second.postgres.connect("skim") as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_children_without_a_record_are_leftovers_too(start: Start, home: Home) -> None:
    """The mark in the environment finds what a process of the stack started itself."""
    start()
    stack_id = home.secrets().stack_id
    with psutil.Popen(["/bin/sleep", "60"], env={"SKIM_STACK": stack_id}) as child:
        assert child.pid in {leftover.process.pid for leftover in find_leftovers(home, stack_id)}
        assert child.pid not in {leftover.process.pid for leftover in find_leftovers(home, "another")}
        child.kill()


def test_record_of_a_reused_pid_stops_nobody(start: Start, home: Home, quiet: Steps) -> None:
    start()
    with psutil.Popen(["/bin/sleep", "60"]) as innocent:
        record = home.run / "worker-1.json"
        record.write_text(f'{{"pid": {innocent.pid}, "create_time": {innocent.create_time() - 100}}}')

        take_down(home, quiet)

        assert innocent.is_running()
        innocent.kill()


def test_nothing_of_a_stopped_stack_lives_and_nothing_is_open_to_others(start: Start, home: Home, quiet: Steps) -> None:
    plan = start()
    assert plan.postgres is not None
    assert plan.redis is not None
    account = server_account()
    private = (plan.postgres.data, plan.postgres.sockets, plan.redis.data, plan.redis.sockets)
    assert [(path.stat().st_uid, _mode(path)) for path in private] == [(account.uid, 0o700)] * 4
    secret_files = [home.root / "secrets.json", home.flower_password, home.run / "supervisor.conf"]
    assert [_mode(path) for path in secret_files] == [0o600] * 3
    commands = " ".join(" ".join(one.process.cmdline()) for one in find_leftovers(home, home.secrets().stack_id))
    assert plan.postgres.password not in commands
    assert plan.redis.password not in commands

    assert take_down(home, quiet)

    assert find_leftovers(home, home.secrets().stack_id) == []
    assert not take_down(home, quiet)


def _client(server: Redis) -> redis_client.Redis:
    return redis_client.Redis(unix_socket_path=str(server.socket), password=server.password)


def _pid(home: Home, name: str) -> int:
    record = read_record(home.run / f"{name}.json")
    assert record is not None
    return record.pid


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _until(is_true: Callable[[], bool], *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
