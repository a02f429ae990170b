"""The whole service as real processes that may be hurt at any time, and a client that does not give up."""

import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import httpx
import redis
from sqlalchemy import text as sql

from models.bootstrap import upgrade
from models.catalog import NewModel, add_model
from models.database import connect
from models.faults import Point
from models.keys import Scope, create_key
from models.tenants import ensure_tenant
from tests.acceptance.workers.service import MODEL, TENANT
from tests.faults.clock import Clock
from tests.faults.jobs import CONTEXT, SIZES, SORTS, body_of, texts_of
from tests.faults.parts import Part
from tests.faults.servers import make_postgres, make_redis
from tests.faults.watch import PATIENCE_S, Watch
from tests.faults.witness import WITNESS
from workers.device.tether import tied
from workers.queues import connect as broker
from workers.text import Text

ROOT = Path(__file__).resolve().parents[2]
REQUEST_S = 2.0  # before the client asks again
CELERY = ("--app", "workers.app")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that the service has taken, what its items say when they succeed, and the states that they may end in.

    `texts` has one for each choice of each item.
    """

    job_id: str
    texts: tuple[tuple[str, ...], ...]
    ends: frozenset[str] = frozenset({"succeeded"})


class Receiver(BaseHTTPRequestHandler):
    """Accepts every webhook and notes it."""

    def do_POST(self) -> None:
        seen: list[tuple[str, bytes]] = getattr(self.server, "seen")  # noqa: B009
        seen.append((self.headers["webhook-id"], self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quietly."""


class World(Watch):
    """Servers, API, control node, beat and devices, kept running whatever happens to them, and a client."""

    def __init__(
        self, folder: Path, home: Path, source: Path, hooks: ThreadingHTTPServer, times: dict[str, str]
    ) -> None:
        self.home = home
        self.hooks = hooks
        self.accepted: list[Accepted] = []
        self.lease_s = float(times.get("SKIM_LEASE_S", "8"))
        self._text = Text(source)
        self._dice = Random(0)  # of the jobs' seeds
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SKIM_")}
        self.env = {**kept, **times, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.env |= {"ECHO_NOISE": "yes"}
        self.clock = Clock(home)
        self.postgres, postgres = make_postgres(folder, self.env)
        self.redis, broker_part = make_redis(folder, self.env)
        super().__init__({"postgres": postgres, "redis": broker_part})
        self.tend()
        self.postgres.wait()
        self.redis.wait()
        self.database = connect(self.postgres.url(), pool_size=4, application_name="test")
        self.app = broker(self.redis.url)
        self.secret = self._prepare(source)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._plan()

    def _prepare(self, source: Path) -> str:
        """Tables, witnesses, a model, a tenant; returns its key."""
        upgrade(self.postgres.url())
        shape = {"dtype": "float64", "context_length": CONTEXT, "architecture": "Any", "num_layers": 1}
        with self.database.session() as session:
            for statement in WITNESS:
                session.execute(sql(statement))
            ensure_tenant(session, TENANT)
            add_model(session, NewModel(MODEL, str(source), None, **shape, has_chat_template=False))  # type: ignore[arg-type]
            return create_key(session, TENANT, "test", tuple(Scope))[1]

    def _plan(self) -> None:
        self.env |= {"SKIM_DATABASE_URL": self.postgres.url(), "SKIM_REDIS_URL": self.redis.url}
        self.env |= {"SKIM_HOME": str(self.home), "SKIM_PRIVATE_WEBHOOKS": "yes", "SKIM_API_THREADS": "8"}
        self.env |= {"SKIM_API_BIND": f"127.0.0.1:{self._port}", **self.clock.env}
        tasks = "workers.control,workers.webhooks"
        threads = ("--pool", "threads", "-c", "4")
        self.add("api", "gunicorn", "-c", str(ROOT / "deploy/gunicorn.conf.py"), "api.wsgi:app")
        self.add("control", "celery", *CELERY, "worker", "-Q", "control,webhooks", *threads, "--include", tasks)
        self.add_beat("beat")
        self.add_device("device")

    # Processes

    def add(self, name: str, module: str, *arguments: str) -> Part:
        """Have a module of ours run from now on; orders for its fault points go to a folder of its own."""
        self.orders(name).mkdir()
        env = {**self.env, "SKIM_FAULTS": str(self.orders(name))}
        self.parts[name] = Part(name, tied(module, arguments), env, self.home / f"{name}.log")
        return self.parts[name]

    def add_beat(self, name: str) -> Part:
        return self.add(name, "celery", *CELERY, "beat", "--pidfile", "")

    def add_device(self, name: str) -> Part:
        options = ("--model", MODEL, "--device", "cpu", "--name", name)
        return self.add(name, "tests.acceptance.workers.echo_device", *options)

    def remove(self, name: str) -> None:
        """Stop a part that was added."""
        self.parts.pop(name).kill()
        self.orders(name).rename(self.home / f"{name}-{secrets.token_hex(3)}.orders")

    def stop(self) -> None:
        """End everything; nothing of it is needed any more."""
        for name in reversed(self.parts):
            if name != "postgres":
                self.parts[name].kill()
        self.database.close()
        self.parts["postgres"].stop()

    def orders(self, name: str) -> Path:
        return self.home / f"{name}.orders"

    def order(self, name: str, point: Point, signal_name: str = "") -> Path:
        """Have the next process of a part that reaches a point take this signal; the file is gone once it has."""
        folder = self.orders(name)
        for taken in folder.glob(f"{point}.*"):
            taken.unlink()
        draft = self.home / "order"
        draft.write_text(signal_name)
        return draft.rename(folder / point)

    # The client

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request. Raises httpx.TransportError when it is not answered."""
        headers = {"Authorization": f"Bearer {self.secret}", **options.pop("headers", {})}
        url = f"http://127.0.0.1:{self._port}{path}"
        return httpx.request(method, url, headers=headers, timeout=REQUEST_S, **options)

    def submit_any(self, num_items: int, random: Random) -> Accepted:
        """A job of any sort, or a new one of what another has lost."""
        sort = random.choice((*SORTS, "retried"))
        if sort != "retried":
            return self.submit_as(sort, num_items, random)
        lost = self.lost()
        return self.retry(random.choice(lost)) if lost else self.submit(num_items)

    def submit_as(self, sort: str, num_items: int, random: Random) -> Accepted:
        """A job of this sort, with about so many items; one with a deadline or to be cancelled has more."""
        changes = dict(SORTS[sort])
        if sort == "deadline":
            changes["deadline_s"] = random.randint(1, 2)
        job = self.submit(max(1, round(num_items * SIZES.get(sort, 1))), **changes)
        if sort == "cancelled":
            self.later(random.uniform(0, 1.5), lambda: self.cancel(job))
        return job

    def cancel(self, job: Accepted) -> None:
        """Ask until it is answered: it is cancelled, is going to be, or has ended before."""
        path = f"/v1/jobs/{job.job_id}/cancel"
        self.until(lambda: self.send("POST", path).status_code in (200, 202, 409))

    def submit(self, num_items: int, *, may_end: str = "succeeded", **changes: Any) -> Accepted:
        """Submit until it is accepted, with one idempotency key. Items succeed, or end as they `may_end` beside."""
        key = secrets.token_hex(6)
        hook = {"webhook_url": f"http://127.0.0.1:{self.hooks.server_port}/"}
        body = body_of(key, num_items, self._dice, **{**hook, **changes})
        job_id, drawn = self._insist("/v1/jobs", key, body)
        seed = body["parameters"]["seed"]
        texts = texts_of(body, drawn if seed is None else seed, self._text)
        return self._accept(Accepted(job_id, texts, frozenset({"succeeded", may_end})))

    def lost(self) -> list[Accepted]:
        """Ended jobs with items that have not succeeded and were not tried again."""
        query = """
            SELECT id FROM jobs WHERE status IN ('cancelled', 'expired')
            AND NOT EXISTS (SELECT 1 FROM jobs AS again WHERE again.retry_of = jobs.id)
        """
        ids = {row.id for row in self.read(query)}
        return [job for job in self.accepted if job.job_id in ids]

    def retry(self, job: Accepted) -> Accepted:
        """A new job of what an ended one has lost: its items say what they would have said there."""
        query = "SELECT index FROM items WHERE job_id = :job AND status <> 'succeeded' ORDER BY index"
        texts = tuple(job.texts[row.index] for row in self.read(query, job=job.job_id))
        job_id, _ = self._insist(f"/v1/jobs/{job.job_id}/retry", secrets.token_hex(6), {})
        return self._accept(Accepted(job_id, texts, job.ends - {"cancelled"}))

    def _insist(self, path: str, key: str, body: Any) -> tuple[str, int]:
        """Ask until a job is accepted; returns its id and its seed."""
        answers: list[Any] = []

        def is_answered() -> bool:
            answer = self.send("POST", path, json=body, headers={"Idempotency-Key": key})
            assert answer.status_code == 202 or answer.status_code >= 500, answer.text
            answers.append(answer.json())
            return answer.status_code == 202

        self.until(is_answered)
        return answers[-1]["id"], answers[-1]["parameters"]["seed"]

    def _accept(self, job: Accepted) -> Accepted:
        self.accepted.append(job)
        return job

    # The registry

    def rows(self, query: str, **values: Any) -> Sequence[Any]:
        with self.database.session() as session:
            found = session.execute(sql(query), values)
            return list(found) if found.returns_rows else []  # type: ignore[attr-defined]

    def read(self, query: str, **values: Any) -> Sequence[Any]:
        """The same, asked until it is answered."""
        found: list[Sequence[Any]] = []
        self.until(lambda: [found.append(self.rows(query, **values))])  # type: ignore[func-returns-value]
        return found[0]

    def is_whole(self) -> bool:
        """Whether everything answers and every device is ready with both nodes."""
        ready = {row.pid for row in self.rows("SELECT pid FROM workers WHERE status = 'ready'")}
        devices = [part for name, part in self.parts.items() if name.startswith("device")]
        return (
            all(part.is_running for part in self.parts.values())
            and all(part.pid in ready and len(part.children()) == 3 for part in devices)
            and self.send("GET", "/livez").status_code == 200
        )

    def num_open(self) -> int:
        query = "SELECT count(*) AS num FROM items WHERE status IN ('queued', 'running')"
        return int(self.rows(query)[0].num)

    def wait(self, jobs: Sequence[Accepted], patience_s: float = PATIENCE_S) -> None:
        """Until all of these jobs have ended."""
        ids = [job.job_id for job in jobs]
        query = "SELECT 1 FROM jobs WHERE id = ANY(:ids) AND status IN ('queued', 'running')"
        self.until(lambda: not self.rows(query, ids=ids), patience_s)

    def client_redis(self) -> "redis.Redis":
        return redis.Redis.from_url(self.redis.url.replace("redis+socket://", "unix://"), socket_timeout=1)
