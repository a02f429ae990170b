"""What must stay between a client and its job is nowhere else: all logs, all that Redis is told, errors and metrics.

The whole service as processes, with a real engine, through jobs that succeed, fail and are refused.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis

from cli.stack.postgres import Postgres
from cli.stack.redis import Redis
from models.deliveries import secret_of
from models.keys import Scope, create_key
from models.tenants import DEFAULT_ID, ensure_tenant
from tests.acceptance.workers.conftest import NUM_TOKENS, open_service
from tests.acceptance.workers.service import MODEL, TENANT, Service, until
from tests.conftest import fresh_database, own_redis
from tests.tools.networks import tiny
from tests.tools.receiving import receiving
from tests.tools.serving import ROOT, free_port
from tests.unit.workers.conftest import ASCII, save_tokenizer
from workers.queues import SHARD_TASK

PROMPT = "XyzzyPromptQuux"
FLOWER_PASSWORD = "XyzzyFlowerQuux"
WRONG_KEY = "sk-XyzzyWrongQuux"
PROGRAMS = ("api", "control", "beat", "device", "flower")
MAX_TOKENS = 4
BASE64 = re.compile(r"[A-Za-z0-9+/]{20,}={0,2}")


class Receiver(BaseHTTPRequestHandler):
    """Refuses every webhook."""

    def do_POST(self) -> None:
        getattr(self.server, "seen").append(self.rfile.read(int(self.headers["Content-Length"])))  # noqa: B009
        self.send_response(500)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quietly."""


@dataclass
class Stack:
    """The running service, what it must not tell, and what Redis was told."""

    service: Service
    url: str
    metrics: list[str]
    key: str
    hidden: dict[str, str]
    told: list[str] = field(default_factory=list)

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request with the tenant's key."""
        headers = {"Authorization": f"Bearer {self.key}"} | options.pop("headers", {})
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=30, **options)

    def submit(self, **changes: Any) -> str:
        """A job with the prompt, which must be accepted."""
        body = {"kind": "generate", "model": MODEL, "parameters": {"max_tokens": MAX_TOKENS}, **changes}
        answer = self.send("POST", "/v1/jobs", json={"inputs": [{"prompt": PROMPT}], **body})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


@contextmanager
def listening(address: str, told: list[str]) -> Iterator[None]:
    """Note every command that Redis gets for the length of the block."""
    client = redis.Redis.from_url(address.replace("redis+socket://", "unix://"), socket_timeout=None)
    is_over = threading.Event()

    def listen() -> None:
        with client.monitor() as monitor:  # type: ignore[no-untyped-call]
            while not is_over.is_set():
                told.append(monitor.next_command()["command"])

    listener = threading.Thread(target=listen, name="monitor")
    listener.start()
    try:
        yield
    finally:
        is_over.set()
        with redis.Redis.from_url(address.replace("redis+socket://", "unix://")) as other:
            other.ping()  # the last command that it waits for
        listener.join()
        client.close()


@pytest.fixture(params=["debug", pytest.param("info", marks=pytest.mark.soak)])
def stack(
    request: pytest.FixtureRequest,
    postgres_server: Postgres,
    migrated_template: str,
    server_folder: Path,
    tmp_path: Path,
) -> Iterator[Stack]:
    """Everything that `skim up` starts, at one level of logging."""
    (model := tmp_path / "llama").mkdir()
    tiny(vocabulary=NUM_TOKENS).save_pretrained(save_tokenizer(model, None, ASCII))
    (home := tmp_path / "home").mkdir()
    with (
        fresh_database(postgres_server, migrated_template) as url,
        own_redis(server_folder, f"s{request.param[0]}") as broker,
        open_service(url, broker.url, home, model) as service,
        receiving(Receiver) as hooks,
    ):
        service.env |= {"SKIM_LOG_LEVEL": request.param, "SKIM_PRIVATE_WEBHOOKS": "yes"}
        stack = _started(service, broker, postgres_server, hooks.server_port)
        with listening(broker.url, stack.told):
            until(lambda: _answers(f"{stack.url}/livez") and service.is_ready())
            yield stack


def _started(service: Service, broker: Redis, postgres: Postgres, hook_port: int) -> Stack:
    with service.database.session() as session:
        ensure_tenant(session, DEFAULT_ID)
        _, key = create_key(session, TENANT, "test", tuple(Scope))
        _, operator = create_key(session, DEFAULT_ID, "metrics", (Scope.METRICS,))
        hook = secret_of(session, TENANT)
    ports = [free_port() for _ in range(3)]
    service.start("gunicorn", "-c", str(ROOT / "deploy/gunicorn.conf.py"), "api.wsgi:app",
                  SKIM_API_BIND=f"127.0.0.1:{ports[0]}")  # fmt: skip
    service.env["SKIM_METRICS_BIND"] = f"127.0.0.1:{ports[1]}"
    service.start_control()
    service.start_device("--rows", "4", "--threads", "1", is_real=True)
    flower = {"FLOWER_BASIC_AUTH": f"skim:{FLOWER_PASSWORD}", "FLOWER_PERSISTENT": "false"}
    options = ("--address=127.0.0.1", f"--port={ports[2]}")
    service.start("celery", "--app", "workers.app", "flower", *options, **flower)
    return Stack(
        service,
        f"http://127.0.0.1:{ports[0]}",
        [operator, f"http://127.0.0.1:{ports[1]}"],
        key,
        {
            "prompt": PROMPT,
            "key": key,
            "operator's key": operator,
            "wrong key": WRONG_KEY,
            "webhook secret": hook.removeprefix("whsec_"),
            "webhook secret, as bytes": repr(base64.b64decode(hook.removeprefix("whsec_")))[2:-1],
            "flower password": FLOWER_PASSWORD,
            "database password": postgres.password,
            "redis password": broker.password,
            "hook": f"/hooks/{hook_port}",  # a path that only the receiver has to know
        },
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def live_through(stack: Stack, hook_port: int) -> None:
    """Jobs that succeed, fail and are refused; a receiver that refuses, connections that break."""
    url = f"http://127.0.0.1:{hook_port}{stack.hidden['hook']}"
    good = [stack.submit(webhook_url=url), stack.submit(kind="summarize", inputs=[{"document": PROMPT}])]
    bad = [
        stack.submit(parameters={"max_tokens": 4, "logit_bias": {"999999": 1}}),  # a token that the model lacks
        stack.submit(inputs=[{"prompt": f"{PROMPT}\u540d"}]),  # characters that the tokenizer lacks
    ]
    too_long = {"kind": "generate", "model": MODEL, "inputs": [{"prompt": PROMPT * 100}]}
    refused = [
        stack.send("POST", "/v1/jobs", json=too_long),
        stack.send("POST", "/v1/jobs", json={"kind": PROMPT}),
        stack.send("POST", "/v1/jobs", content=PROMPT, headers={"Content-Type": "application/json"}),
        stack.send("GET", f"/v1/jobs/{PROMPT}", headers={"User-Agent": PROMPT, "Referer": PROMPT}),
        stack.send("GET", "/v1/jobs", params={"api_key": stack.key, "prompt": PROMPT}),
        stack.send("GET", "/v1/jobs", headers={"Authorization": f"Bearer {WRONG_KEY}"}),
        stack.send("GET", "/v1/jobs", headers={"Authorization": f"Basic {WRONG_KEY}"}),
    ]
    body = {"model": MODEL, "prompt": PROMPT, "max_tokens": MAX_TOKENS}
    answered = stack.send("POST", "/v1/completions", json=body)
    assert {answer.status_code for answer in refused} == {400, 401, 404}
    assert answered.status_code == 200, answered.text
    assert [stack.service.wait(job_id) for job_id in good] == ["succeeded"] * 2
    assert "failed" in {stack.service.wait(job_id) for job_id in bad}
    until(lambda: stack.service.rows("SELECT 1 FROM deliveries WHERE last_error = 'status 500'"))
    cut_submission(stack)
    broken = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()"""
    stack.service.rows(broken)
    until(lambda: stack.send("GET", "/v1/jobs").status_code == 200)
    assert stack.service.wait(stack.submit()) == "succeeded"


HALT = """
CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
CREATE TRIGGER halt BEFORE INSERT ON items FOR EACH ROW WHEN (NEW.index = 700) EXECUTE FUNCTION halt()
"""


def cut_submission(stack: Stack) -> None:
    """Break the connection over which a long submission is written, in the middle of a line of it."""
    head = json.dumps({"kind": "generate", "model": MODEL, "parameters": {"max_tokens": MAX_TOKENS}})
    lines = "\n".join([head, *[json.dumps({"prompt": PROMPT})] * 1500])
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    with stack.service.database.engine.begin() as connection:
        connection.exec_driver_sql(HALT)
    with ThreadPoolExecutor(1) as pool:
        headers = {"Content-Type": "application/x-ndjson"}
        answer = pool.submit(stack.send, "POST", "/v1/jobs", content=lines, headers=headers)
        until(lambda: stack.service.rows(cut))
    assert answer.result().status_code == 503, answer.result().text
    with stack.service.database.engine.begin() as connection:
        connection.exec_driver_sql("DROP FUNCTION halt CASCADE")


def rows_of_errors(service: Service) -> str:
    """All that is said of failures in rows that others than the client read."""
    queries = (
        "SELECT error FROM jobs WHERE error IS NOT NULL",
        "SELECT error FROM items WHERE error IS NOT NULL",
        "SELECT last_error FROM deliveries",
        "SELECT note FROM workers",
        "SELECT action, subject_id FROM audit",
    )
    return "\n".join(str(tuple(row)) for query in queries for row in service.rows(query))


def everything(stack: Stack, server_folder: Path) -> Iterator[tuple[str, str]]:
    """Where a secret might be found, and all that is there."""
    service = stack.service
    for path in sorted(service.folder.glob("*.log")):
        yield path.name, path.read_text(errors="replace")
    for path in server_folder.glob("*.log"):
        yield path.name, path.read_text(errors="replace")
    yield "rows", rows_of_errors(service)
    operator, control = stack.metrics
    yield "metrics of the API", httpx.get(f"{stack.url}/metrics", headers={"Authorization": f"Bearer {operator}"}).text
    yield "metrics of the control node", httpx.get(f"{control}/metrics").text
    yield "commands to Redis", unpacked("\n".join(stack.told))
    yield "keys of Redis", unpacked("\n".join(_kept(service.redis_url)))
    for process in service.processes:
        for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
            with suppress(psutil.Error):
                yield f"command line of {one.pid}", " ".join(one.cmdline())


def unpacked(text: str) -> str:
    """A text, and what is written in it in base 64: the bodies of messages are."""
    found = []
    for packed in BASE64.findall(text):
        with suppress(ValueError):
            found.append(base64.b64decode(packed, validate=True).decode(errors="replace"))
    return "\n".join([text, *found])


def _kept(address: str) -> Iterator[str]:
    """Every key, and the values of those that hold text or messages."""
    with redis.Redis.from_url(address.replace("redis+socket://", "unix://")) as client:
        for name in client.scan_iter():
            yield repr(name)
            match client.type(name):
                case b"string":
                    yield repr(client.get(name))
                case b"list":
                    yield repr(client.lrange(name, 0, -1))
                case b"hash":
                    yield repr(client.hgetall(name))


def test_nothing_tells_what_it_must_not(stack: Stack, server_folder: Path) -> None:
    port = int(stack.hidden["hook"].rsplit("/", 1)[1])

    live_through(stack, port)
    found = dict(everything(stack, server_folder))

    # What is looked through is all there.
    logs = [text for name, text in found.items() if name[0].isdigit()]
    assert len(logs) == len(PROGRAMS) and all(logs)
    assert sum('"event": "request"' in text for text in logs) == 1
    assert "token_out_of_range" in found["rows"]
    assert any("terminating connection" in text and "COPY items" in text for text in found.values())
    assert "skim_" in found["metrics of the API"] and "skim_" in found["metrics of the control node"]
    assert f'"task": "{SHARD_TASK}"' in found["commands to Redis"]
    assert all(job.id in found["commands to Redis"] for job in stack.service.rows("SELECT id FROM jobs"))
    # And nothing of it tells.
    told = [
        (what, where, line)
        for what, one in stack.hidden.items()
        for where, text in found.items()
        for line in text.splitlines()
        if one in line
    ]
    assert told == []


def test_a_trace_in_the_log_quotes_nothing() -> None:
    """An exception's message may hold anything: the database's quotes rows, for one."""
    code = f"""
import logging, structlog
from workers.logs import configure
configure("debug")
try:
    try:
        raise ValueError({PROMPT!r} + "1")
    except ValueError as error:
        raise RuntimeError({PROMPT!r} + "2") from error
except RuntimeError as error:
    logging.getLogger("a").error("library failed", exc_info=error)
    structlog.get_logger("b").exception("ours failed")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]

    assert [line["event"] for line in lines] == ["library failed", "ours failed"]
    for line in lines:
        told = line["exception"].splitlines()
        assert [one for one in told if not one.startswith(" ")] == [
            "Traceback (most recent call last):", "builtins.ValueError",
            "Traceback (most recent call last):", "builtins.RuntimeError",
        ]  # fmt: skip
        assert 'File "<string>", line 7' in line["exception"]
