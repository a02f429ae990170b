"""A broker that is away loses nothing: the row is the truth, the message only a doorbell."""

import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack.account import server_account
from cli.stack.folders import private_folder
from cli.stack.launch import launch_command
from cli.stack.redis import Redis
from tests.acceptance.workers.service import Service, echo


class Broker:
    """A Redis of its own that can be stopped, started and frozen."""

    def __init__(self, shared: Redis, folder: Path) -> None:
        account = server_account()
        self.server = Redis(
            binary=shared.binary,
            data=folder / "own-redis",
            sockets=private_folder(folder / "own", account),
            account=account,
            password=secrets.token_hex(8),
        )
        self.server.prepare()
        self._user = account.name if account.is_other else None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = launch_command(self.server.command, user=self._user, death_signal=signal.SIGTERM)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd="/")
        self.server.wait()

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def own_broker(redis_server: Redis, server_folder: Path) -> Iterator[Broker]:
    broker = Broker(redis_server, server_folder)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def redis_url(own_broker: Broker) -> str:
    """The service of these tests uses the broker that they stop."""
    return own_broker.server.url


def test_a_job_submitted_while_the_broker_is_down_runs_when_it_is_back(shared: Service, own_broker: Broker) -> None:
    assert shared.wait(shared.submit(["warm "], max_tokens=3)) == "succeeded"

    own_broker.kill()
    began = time.monotonic()
    job_id = shared.submit(["late "], max_tokens=5)
    assert time.monotonic() - began < 0.5
    time.sleep(1)
    assert shared.status(job_id) == "queued"
    own_broker.start()

    assert shared.wait(job_id) == "succeeded"
    assert shared.items(job_id)[0].output == echo("late ", 5)


def test_a_frozen_broker_holds_nobody(shared: Service, own_broker: Broker) -> None:
    own_broker.send(signal.SIGSTOP)
    began = time.monotonic()
    jobs = [shared.submit([f"frozen {number} "], max_tokens=5) for number in range(3)]
    assert time.monotonic() - began < 0.5
    own_broker.send(signal.SIGCONT)

    assert [shared.wait(job_id) for job_id in jobs] == ["succeeded"] * 3
