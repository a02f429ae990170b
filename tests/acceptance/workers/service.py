"""A service of real processes, started and killed one by one, and the registry behind it."""

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import redis
from celery import Celery
from sqlalchemy import text as sql

from models.cancel import cancel
from models.database import Database
from models.states import JobKind, Lane
from models.submit import NewItem, NewJob, submit
from tests.acceptance.workers.noise import pick
from workers.device.tether import tied
from workers.queues import Bell

PATIENCE_S = 60.0
MODEL = "echo"
TENANT = "ten_test"
# Short times, so that recovery can be watched.
TIMES = {
    "SKIM_LEASE_S": "2",
    "SKIM_HEARTBEAT_S": "0.5",
    "SKIM_SWEEP_S": "0.5",
    "SKIM_GRACE_S": "1.5",
    "SKIM_STALL_S": "3",
}


def until(is_so: Callable[[], Any], patience_s: float = PATIENCE_S) -> float:
    """Wait until something is so; returns the seconds it took."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < patience_s, f"not so after {patience_s} s"
        time.sleep(0.05)
    return time.monotonic() - began


@dataclass
class Device:
    """A worker's tree of processes."""

    process: subprocess.Popen[bytes]

    @property
    def tree(self) -> list[psutil.Process]:
        """The supervisor, then its children."""
        supervisor = psutil.Process(self.process.pid)
        return [supervisor, *supervisor.children(recursive=True)]

    def find(self, word: str) -> psutil.Process:
        """The child whose command line has `word` in it."""
        return next(one for one in self.tree[1:] if any(word in part for part in one.cmdline()))

    def kill(self) -> None:
        """End everything at once, as a power cut would."""
        for one in self.tree:
            one.kill()
        self.process.wait(10)


@dataclass
class Service:
    """Control node, beat and devices as processes; the registry and the broker as their own objects."""

    database: Database
    app: Celery
    env: dict[str, str]
    folder: Path
    redis_url: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.bell = Bell(self.database, self.app)

    # Processes

    def start(self, module: str, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        """Run a module, tied to the tests: they may be killed too."""
        with (self.folder / f"{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                tied(module, arguments), env={**self.env, **env}, stderr=log, stdout=log, process_group=0
            )
        self.processes.append(process)
        return process

    def start_control(self) -> None:
        celery = ("celery", "--app", "workers.app")
        tasks = "workers.control,workers.webhooks"
        self.start(*celery, "worker", "-Q", "control,webhooks", "--pool", "threads", "-c", "4", "--include", tasks)
        self.start(*celery, "beat", "--pidfile", "")

    def start_device(self, *arguments: str, is_real: bool = False, **env: str) -> Device:
        module = "workers.device" if is_real else "tests.acceptance.workers.echo_device"
        name = f"device-{len(self.devices)}"
        process = self.start(module, "--model", MODEL, "--device", "cpu", "--name", name, *arguments, **env)
        self.devices.append(Device(process))
        return self.devices[-1]

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            _end(process)
        self.bell.close()
        self.database.close()

    # Jobs

    def submit(
        self,
        prompts: Sequence[str | Sequence[int]],
        *,
        max_tokens: int = 20,
        lane: Lane = Lane.BULK,
        kind: JobKind = JobKind.GENERATE,
        shard_items: int = 16,
        temperature: float = 0.0,
        deadline_s: float | None = None,
        drafter: str = "auto",
        **parameters: Any,
    ) -> str:
        """Submit one item a prompt; returns the job's id."""
        field_name = "document" if kind is JobKind.SUMMARIZE else "prompt"
        job = NewJob(
            tenant_id=TENANT,
            kind=kind,
            model=MODEL,
            lane=lane,
            parameters={"max_tokens": max_tokens, "temperature": temperature, "seed": 7, **parameters},
            decoding={"drafter": drafter, "reproducible": False},
            options={"style": "paragraph", "max_words": 40} if kind is JobKind.SUMMARIZE else {},
            deadline_s=deadline_s,
        )
        with self.database.session() as session:
            items = [NewItem(None, {field_name: one}) for one in prompts]
            submitted = submit(session, job, items, shard_items=shard_items)
        self.bell.ring(MODEL, lane)
        return submitted.job_id

    def cancel(self, job_id: str) -> None:
        with self.database.session() as session:
            cancel(session, TENANT, job_id)

    def rows(self, query: str, **values: Any) -> list[Any]:
        with self.database.session() as session:
            return list(session.execute(sql(query), values))

    def items(self, job_id: str) -> list[Any]:
        """Index, status, output, attempts, error of every item, in order."""
        query = "SELECT index, status, output, attempts, error FROM items WHERE job_id = :job ORDER BY index"
        return self.rows(query, job=job_id)

    def num_done(self, job_id: str) -> int:
        return sum(item.status not in ("queued", "running") for item in self.items(job_id))

    def num_running(self, job_id: str) -> int:
        return sum(item.status == "running" for item in self.items(job_id))

    def status(self, job_id: str) -> str:
        return str(self.rows("SELECT status FROM jobs WHERE id = :job", job=job_id)[0].status)

    def wait(self, job_id: str, patience_s: float = PATIENCE_S) -> str:
        """The status in which the job ended."""
        until(lambda: self.status(job_id) not in ("queued", "running"), patience_s)
        return self.status(job_id)

    @property
    def device(self) -> Device:
        """The device started last."""
        return self.devices[-1]

    def is_whole(self) -> bool:
        """Whether the last device's engine is ready and both its nodes run."""
        query = "SELECT 1 FROM workers WHERE status = 'ready' AND pid = :pid"
        return bool(self.rows(query, pid=self.device.process.pid)) and len(self.device.tree) == 4

    def flush_broker(self) -> None:
        """Forget every message."""
        redis.Redis.from_url(self.redis_url.replace("redis+socket://", "unix://")).flushall()

    def is_ready(self) -> bool:
        """Whether a device has announced that it serves."""
        return bool(self.rows("SELECT 1 FROM workers WHERE status = 'ready'"))


def echo(prompt: str, num_tokens: int, *keys: int) -> str:
    """What the echo engine says, to a prompt of one token a character; `keys` are those of its noise."""
    return "".join(prompt[pick(len(prompt), position, *keys)] for position in range(num_tokens))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for one that was told to end. Beat leaves by an exception of its signal handler, which can get lost."""
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait(20)
