"""The whole service as real processes that may be hurt at any time, and a client that does not give up."""

import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import httpx
import redis
from sqlalchemy import text as sql
from sqlalchemy.exc import DBAPIError

from models.bootstrap import upgrade
from models.catalog import NewModel, add_model
from models.database import connect
from models.faults import Point
from models.keys import Scope, create_key
from models.tenants import ensure_tenant
from tests.acceptance.workers.service import MODEL, TENANT, echo
from tests.faults.clock import Clock
from tests.faults.parts import Part
from tests.faults.servers import make_postgres, make_redis
from tests.faults.witness import WITNESS
from workers.device.tether import tied
from workers.queues import connect as broker

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = 4096
NUM_TOKENS = 20
SUMMARY_WORDS = 20
SUMMARY_TOKENS = 92  # beyond the document
SUMMARY = f"Summarize the following text in one short paragraph of at most {SUMMARY_WORDS} words.\n\n{{}}\n\nSummary:"
LONG = 8  # times as many items has a job that is not to come to its end
PATIENCE_S = 60.0
REQUEST_S = 2.0  # before the client asks again
CELERY = ("--app", "workers.app")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that the service has taken, what its items say when they succeed, and the states that they may end in."""

    job_id: str
    texts: tuple[str, ...]
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


class World:
    """Servers, API, control node, beat and devices, kept running by `tend`: everybody who waits does it here."""

    def __init__(
        self, folder: Path, home: Path, source: Path, hooks: ThreadingHTTPServer, times: dict[str, str]
    ) -> None:
        self.home = home
        self.hooks = hooks
        self.accepted: list[Accepted] = []
        self.lease_s = float(times.get("SKIM_LEASE_S", "8"))
        self._later: list[tuple[float, Callable[[], None]]] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SKIM_")}
        self.env = {**kept, **times, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.clock = Clock(home)
        self.postgres, postgres = make_postgres(folder, self.env)
        self.redis, broker_part = make_redis(folder, self.env)
        self.parts = {"postgres": postgres, "redis": broker_part}
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

    # Time

    def tend(self) -> None:
        """Start again what has ended, do what is due."""
        now = time.monotonic()
        due = [action for at, action in self._later if at <= now]
        self._later = [(at, action) for at, action in self._later if at > now]
        for action in due:
            action()
        for part in self.parts.values():
            part.tend()

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + delay_s, action))

    def settle(self) -> None:
        """Wait until nothing is to be done later."""
        self.until(lambda: not self._later)

    def pause(self, duration_s: float) -> None:
        end_at = time.monotonic() + duration_s
        self.until(lambda: time.monotonic() >= end_at, duration_s + PATIENCE_S)

    def until(self, is_so: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
        """Wait until something is so. A server that is away has not said so."""
        give_up_at = time.monotonic() + patience_s
        while not self.holds(is_so):
            assert time.monotonic() < give_up_at, f"not so after {patience_s} s"
            self.tend()
            time.sleep(0.02)

    def holds(self, is_so: Callable[[], Any]) -> bool:
        """Whether something is so, as far as can be seen now."""
        try:
            return bool(is_so())
        except (DBAPIError, httpx.TransportError, redis.RedisError, OSError):
            return False

    # The client

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request. Raises httpx.TransportError when it is not answered."""
        headers = {"Authorization": f"Bearer {self.secret}", **options.pop("headers", {})}
        url = f"http://127.0.0.1:{self._port}{path}"
        return httpx.request(method, url, headers=headers, timeout=REQUEST_S, **options)

    def submit_any(self, num_items: int, random: Random) -> Accepted:
        """A job of any sort: bulk or interactive, of summaries, with a deadline, or cancelled in mid-flight."""
        match random.choice(("bulk", "interactive", "summaries", "deadline", "cancelled")):
            case "interactive":
                return self.submit(num_items, priority="interactive")
            case "summaries":
                return self.submit(num_items, kind="summarize", max_words=SUMMARY_WORDS)
            case "deadline":
                return self.submit(LONG * num_items, may_end="expired", deadline_s=random.randint(1, 2))
            case "cancelled":
                job = self.submit(LONG * num_items, may_end="cancelled")
                self.later(random.uniform(0, 1.5), lambda: self.cancel(job))
                return job
        return self.submit(num_items)

    def cancel(self, job: Accepted) -> None:
        """Ask until it is answered: it is cancelled, is going to be, or has ended before."""
        path = f"/v1/jobs/{job.job_id}/cancel"
        self.until(lambda: self.send("POST", path).status_code in (200, 202, 409))

    def submit(self, num_items: int, *, may_end: str = "succeeded", **changes: Any) -> Accepted:
        """Submit until it is accepted, with one idempotency key. Items succeed, or end as they `may_end` beside."""
        key = secrets.token_hex(6)
        prompts = [f"{key} {number} " for number in range(num_items)]
        field, num_tokens, texts = "prompt", NUM_TOKENS, prompts
        if changes.get("kind") == "summarize":
            field, num_tokens, texts = "document", SUMMARY_TOKENS, [SUMMARY.format(one.strip()) for one in prompts]
        body = {
            "kind": "generate",
            "model": MODEL,
            "priority": "bulk",
            "inputs": [{field: prompt} for prompt in prompts],
            "parameters": {"max_tokens": num_tokens, "seed": 1},
            "webhook_url": f"http://127.0.0.1:{self.hooks.server_port}/",
            **changes,
        }
        answers: list[httpx.Response] = []

        def is_answered() -> bool:
            answer = self.send("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": key})
            assert answer.status_code == 202 or answer.status_code >= 500, answer.text
            answers.append(answer)
            return answer.status_code == 202

        self.until(is_answered)
        said = tuple(echo(text, num_tokens) for text in texts)
        self.accepted.append(Accepted(answers[-1].json()["id"], said, frozenset({"succeeded", may_end})))
        return self.accepted[-1]

    # The registry

    def rows(self, query: str, **values: Any) -> Sequence[Any]:
        with self.database.session() as session:
            found = session.execute(sql(query), values)
            return list(found) if found.returns_rows else []  # type: ignore[attr-defined]

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
