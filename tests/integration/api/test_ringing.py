"""Submitting and the broker: a message when it lives, an answer at once whatever it does."""

from __future__ import annotations

import json
import socket
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from redis import Redis

from api.app import create_app
from api.extension import EXTENSION
from api.services import Services
from api.settings import Settings
from models.catalog import NewModel, add_model
from models.keys import Scope, create_key
from models.tenants import ensure_tenant
from tests.integration.api.conftest import Caller


@contextmanager
def service(settings: Settings, redis_url: str, model: str) -> Iterator[Caller]:
    """The service with another broker, and somebody to call it."""
    app = create_app(replace(settings, redis_url=redis_url))
    services: Services = app.extensions[EXTENSION]
    with services.database.session() as session:
        add_model(session, NewModel(model, "/nowhere", None, "float32", 512, "LlamaForCausalLM", 2, True))
        ensure_tenant(session, "ten_a")
        _, secret = create_key(session, "ten_a", "test", frozenset(Scope), None)
    yield Caller(app.test_client(), secret)
    services.bell.close(timeout_s=1)
    services.database.close()


def test_a_submit_rings(settings: Settings, redis_url: str) -> None:
    client = Redis.from_url(redis_url.replace("redis+socket://", "unix://"))
    with service(settings, redis_url, "rung") as caller:
        job_id = caller.submit(model="rung")["id"]
        _, message = client.blpop(["generate.rung.interactive"], timeout=10)  # type: ignore[misc]
        ready = caller.get("/readyz")
    client.close()

    body = json.loads(message)
    assert body["headers"]["task"] == "generate.shard"
    assert json.loads(b64decode(body["body"]))[0] == [job_id, 0]
    assert ready.json == {
        "status": "ready",
        "checks": {"database": "ok", "broker": "ok"},
        "workers": {"ready": 0, "loading": 0},
    }


def test_a_frozen_broker_holds_nobody(settings: Settings) -> None:
    """It accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        address = f"redis://127.0.0.1:{frozen.getsockname()[1]}/0"
        with service(settings, address, "m") as caller:
            begin = time.monotonic()
            for _ in range(5):
                caller.submit(model="m")
            elapsed_s = time.monotonic() - begin
            ready = caller.get("/readyz")

    assert elapsed_s < 2
    assert (ready.status_code, ready.json["status"]) == (200, "degraded")
