"""The service as it is deployed (gunicorn, a real PostgreSQL and Redis), tenants, and one of all that they can own."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from cli.stack.postgres import Postgres
from models.catalog import NewModel, add_model
from models.database import Database, connect
from models.keys import Scope, create_key
from models.tenants import DEFAULT_ID, ensure_tenant
from tests.conftest import fresh_database
from tests.tools.playing import playing
from tests.tools.receiving import receiving
from tests.tools.serving import ROOT, environment, serving, wait_until_live

MODEL = "smollm2-135m-instruct"  # the example that the OpenAPI document gives
CONTEXT = 512
NUM_LAYERS = 4  # as many as a search needs
MAX_BODY_MIB = 2
HOOK = "https://example.org/hook"  # never sent to: no control node runs here
ENDED = ("succeeded", "failed", "cancelled", "expired")


class EmptyHub(BaseHTTPRequestHandler):
    """A hub of models that has none."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - as the base class has it

    def log_message(self, format: str, *args: object) -> None:
        """Quietly."""


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody with a key, on a connection of their own."""

    tenant_id: str
    secret: str
    http: httpx.Client

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; `json`, `content`, `headers`, `files` and so on as httpx has them."""
        headers = {"Authorization": f"Bearer {self.secret}"} | options.pop("headers", {})
        return self.http.request(method, path, headers=headers, **options)

    def made(self, method: str, path: str, **options: Any) -> Any:
        """What a request that must succeed answers."""
        answer = self.send(method, path, **options)
        assert answer.is_success, answer.text
        return answer.json()

    def submit(self, **changes: Any) -> dict[str, Any]:
        """A small job that must be accepted."""
        body = {"kind": "generate", "model": MODEL, "inputs": [{"custom_id": "c", "prompt": "Say it."}], **changes}
        job: dict[str, Any] = self.made("POST", "/v1/jobs", json=body)
        return job

    def ended(self, path: str) -> dict[str, Any]:
        """A job or a batch, once it has ended."""
        deadline = time.monotonic() + 30
        while (seen := self.made("GET", path))["status"] not in (*ENDED, "completed"):
            assert time.monotonic() < deadline, seen
            time.sleep(0.05)
        found: dict[str, Any] = seen
        return found


@dataclass(frozen=True, slots=True)
class Site:
    """A running API and what is behind it."""

    url: str
    database: Database
    log: Path
    clients: dict[tuple[str, tuple[Scope, ...]], Client] = field(default_factory=dict)

    def client(self, tenant_id: str = DEFAULT_ID, scopes: Sequence[Scope] = tuple(Scope)) -> Client:
        """Somebody of a tenant, which is made if there is none; the same one for the same scopes."""
        name = tenant_id, tuple(scopes)
        if name not in self.clients:
            self.clients[name] = self._new_client(tenant_id, scopes)
        return self.clients[name]

    def _new_client(self, tenant_id: str, scopes: Sequence[Scope]) -> Client:
        with self.database.session() as session:
            ensure_tenant(session, tenant_id)
            _, secret = create_key(session, tenant_id, secrets.token_hex(4), frozenset(scopes), None)
        return Client(tenant_id, secret, httpx.Client(base_url=self.url, timeout=60))

    def rows(self, query: str, **values: Any) -> list[Any]:
        """What a query finds."""
        with self.database.session() as session:
            found = session.execute(text(query), values)
            return list(found) if found.returns_rows else []  # type: ignore[attr-defined]


@contextmanager
def opened(
    postgres: Postgres, template: str, redis_url: str, folder: Path, application: str = "api.wsgi:app"
) -> Iterator[Site]:
    """A service of its own with one model, no worker and a hub that has nothing; nobody plays a worker yet."""
    with fresh_database(postgres, template) as url, receiving(EmptyHub) as hub:
        database = connect(url, pool_size=4)
        with database.session() as session:
            add_model(session, NewModel(MODEL, "/nowhere", None, "float32", CONTEXT, "LlamaForCausalLM", 4, True))
            ensure_tenant(session, DEFAULT_ID)
        extra = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "SKIM_MAX_BODY_MB": str(MAX_BODY_MIB)}
        env = environment(url, redis_url, **extra, PYTHONPATH=f"{folder}{os.pathsep}{ROOT}")
        log = folder / "api.log"
        with log.open("wb") as output, serving(output, env, application) as (address, _):
            wait_until_live(address)
            yield (site := Site(address, database, log))
            for client in site.clients.values():
                client.http.close()
        database.close()


@pytest.fixture(scope="session")
def site(
    postgres_server: Postgres, migrated_template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One service for all tests that leave it as it is, with somebody who does every job at once."""
    folder = tmp_path_factory.mktemp("site")
    with opened(postgres_server, migrated_template, redis_url, folder) as made, playing(made.database):
        yield made
        assert "Traceback" not in made.log.read_text()


@dataclass(frozen=True, slots=True)
class Things:
    """One of everything that a tenant can own, by the name that the paths of the OpenAPI document have for it."""

    owner: Client
    ids: dict[str, str]
    extra: dict[str, str]  # more that must be told nobody else


def furnish(owner: Client, operator: Client) -> Things:
    """Make one of everything; somebody has to do the jobs."""
    job_id = owner.submit(webhook_url=HOOK, metadata={"mark": owner.tenant_id})["id"]
    search = {"kind": "search", "model": MODEL, "device_kind": "cpu", "budget": {"trials": 20}}
    search_id = owner.ended(f"/v1/jobs/{owner.made('POST', '/v1/jobs', json=search)['id']}")["id"]
    owner.ended(f"/v1/jobs/{job_id}")
    line = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"model": MODEL, "prompt": "a"}}
    file = owner.made(
        "POST", "/v1/files", files={"file": (f"{owner.tenant_id}.jsonl", json.dumps(line))}, data={"purpose": "batch"}
    )
    given = {"input_file_id": file["id"], "endpoint": "/v1/completions", "completion_window": "1h"}
    batch = owner.ended(f"/v1/batches/{owner.made('POST', '/v1/batches', json=given)['id']}")
    key = owner.made("POST", "/v1/keys", json={"name": "spare", "scopes": ["metrics"]})
    return Things(
        owner,
        {
            "job_id": job_id,
            "delivery_id": owner.made("GET", f"/v1/jobs/{job_id}/deliveries")["data"][0]["id"],
            "file_id": file["id"],
            "batch_id": batch["id"],
            "key_id": key["id"],
            "tenant_id": owner.tenant_id,
            "name": MODEL,
            "skip_set_id": operator.made("GET", f"/v1/models/{MODEL}/skip-sets")["data"][0]["id"],
        },
        {"search_id": search_id, "output_file_id": batch["output_file_id"], "batch_job_id": batch["job_id"]},
    )
