"""The service over a fresh real database, through Flask's client; helpers that play the part of a worker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.app import create_app
from api.extension import EXTENSION
from api.gate import Gate
from api.services import Services
from api.settings import Settings
from models.catalog import NewModel, add_model
from models.database import Database, connect
from models.keys import Scope, create_key
from models.tenants import ensure_tenant

MODEL = "tiny"
BARE = "bare"  # the same without a chat template
CONTEXT = 512
# Nobody listens there: a submit must not care.
DEAD_REDIS = "redis://127.0.0.1:9/0"


class Reply(TestResponse):
    """An answer whose JSON a test may index."""

    @property
    def json(self) -> Any:
        """The body."""
        return super().json


@dataclass(frozen=True)
class Caller:
    """A client, with a key unless `secret` is None."""

    http: FlaskClient
    secret: str | None = None

    def send(self, method: str, path: str, *, body: Any = None, **options: Any) -> Reply:
        """One request; `body` goes out as JSON."""
        key = {} if self.secret is None else {"Authorization": f"Bearer {self.secret}"}
        headers = {**key, **options.pop("headers", {})}
        if body is not None:
            options["data"] = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        return cast(Reply, self.http.open(path, method=method, headers=headers, buffered=True, **options))

    def get(self, path: str, **options: Any) -> Reply:
        """GET."""
        return self.send("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Reply:
        """POST."""
        return self.send("POST", path, body=body, **options)

    def submit(self, num_items: int = 1, **changes: Any) -> dict[str, Any]:
        """Submit a small generate job that must be accepted."""
        inputs = [{"custom_id": f"c{index}", "prompt": f"Say {index}."} for index in range(num_items)]
        answer = self.post("/v1/jobs", {"kind": "generate", "model": MODEL, "inputs": inputs, **changes})
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json
        return job


def fill(gate: Gate, num_places: int) -> list[str]:
    """Take all places; returns by whom."""
    tenants = [f"ten_{number}" for number in range(num_places)]
    assert all(gate.try_enter(tenant) for tenant in tenants)
    return tenants


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Limits small enough to reach."""
    return Settings(
        database_url=database_url,
        redis_url=DEAD_REDIS,
        model_roots=(tmp_path / "models",),
        max_body_bytes=1024 * 1024,
        max_stream_bytes=4 * 1024 * 1024,
        max_inputs=10_000,
        num_threads=8,
    )


@pytest.fixture
def app(settings: Settings) -> Iterator[APIFlask]:
    """The application, closed afterwards."""
    app = create_app(settings)
    found: Services = app.extensions[EXTENSION]
    with found.database.session() as session:
        add_model(session, _model(MODEL, has_chat_template=True))
        add_model(session, _model(BARE, has_chat_template=False))
    yield app
    found.watcher.close()
    found.bell.close(timeout_s=0.05)  # nobody answers it anyway
    found.database.close()


@pytest.fixture
def database(app: APIFlask) -> Database:
    """The application's database."""
    found: Services = app.extensions[EXTENSION]
    return found.database


MakeCaller = Callable[..., Caller]


@pytest.fixture
def make_caller(app: APIFlask, database: Database) -> MakeCaller:
    """Callers by tenant and scopes."""

    def make(tenant: str = "ten_default", scopes: Sequence[Scope] = tuple(Scope)) -> Caller:
        with database.session() as session:
            ensure_tenant(session, tenant)
            _, secret = create_key(session, tenant, "test", frozenset(scopes), None)
        return Caller(app.test_client(), secret)

    return make


@pytest.fixture
def caller(make_caller: MakeCaller) -> Caller:
    """A caller who may do everything."""
    return make_caller()


@pytest.fixture
def secret(database_url: str) -> str:
    """A key of a service that runs as a process of its own, beside a model."""
    database = connect(database_url)
    with database.session() as session:
        add_model(session, NewModel("tiny", "/nowhere", None, "float32", 512, "LlamaForCausalLM", 2, True))
        ensure_tenant(session, "ten_test")
        _, secret = create_key(session, "ten_test", "test", frozenset(Scope), None)
    database.close()
    return secret


def _model(name: str, *, has_chat_template: bool) -> NewModel:
    return NewModel(
        name=name,
        source="/nowhere",
        revision=None,
        dtype="float32",
        context_length=CONTEXT,
        architecture="LlamaForCausalLM",
        num_layers=2,
        has_chat_template=has_chat_template,
    )
