"""Rate limits: by key, told in OpenAI's words, and open when Redis is away."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from apiflask import APIFlask

from api.app import create_app
from api.errors import BadSetting
from api.extension import EXTENSION
from api.services import Services
from api.settings import Settings
from models.catalog import NewModel, add_model
from models.keys import Scope, create_key
from models.tenants import ensure_tenant
from tests.integration.api.conftest import MODEL, Caller

LIMIT = 3  # requests a minute


@contextmanager
def limited(settings: Settings, redis_url: str) -> Iterator[tuple[APIFlask, Services]]:
    app = create_app(replace(settings, redis_url=redis_url, rate_limit=f"{LIMIT} per minute"))
    services: Services = app.extensions[EXTENSION]
    yield app, services
    services.bell.close(timeout_s=0.05)
    services.database.close()


def caller(app: APIFlask, services: Services) -> Caller:
    with services.database.session() as session:
        ensure_tenant(session, "ten_a")
        _, secret = create_key(session, "ten_a", secrets.token_hex(4), frozenset(Scope), None)
    return Caller(app.test_client(), secret)


def test_a_key_is_limited_and_others_are_not(settings: Settings, redis_url: str) -> None:
    with limited(settings, redis_url) as (app, services):
        first, other = caller(app, services), caller(app, services)
        answers = [first.get("/v1/jobs") for _ in range(LIMIT)]
        refused = first.get("/v1/jobs")
        another = other.get("/v1/jobs")
        health = [first.get("/livez").status_code for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * LIMIT
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0"]
    assert (refused.status_code, refused.json["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 0 < int(refused.headers["Retry-After"]) <= 61
    assert another.status_code == 200
    assert health == [200] * 5


@pytest.mark.parametrize("spelling", ["bearer {}", "BEARER {}", "Bearer  {}", "Bearer {}\t"])
def test_a_key_is_the_same_however_it_is_spelt(settings: Settings, redis_url: str, spelling: str) -> None:
    with limited(settings, redis_url) as (app, services):
        asked = caller(app, services)
        for _ in range(LIMIT):
            asked.get("/v1/jobs")
        other = asked.get("/v1/jobs", headers={"Authorization": spelling.format(asked.secret)})

    assert other.status_code == 429


def test_keys_that_nobody_has_are_one_by_their_address(settings: Settings, redis_url: str) -> None:
    with limited(settings, redis_url) as (app, services):
        guesses = [Caller(app.test_client(), secret=f"sk-{number}").get("/v1/jobs") for number in range(LIMIT + 1)]
        good = caller(app, services).get("/v1/jobs")

    assert [guess.status_code for guess in guesses] == [401] * LIMIT + [429]
    assert good.status_code == 200


def test_only_who_is_refused_is_told_when_to_come_back(settings: Settings, redis_url: str) -> None:
    """What else says so means something else: a job, say, that is not over."""
    with limited(settings, redis_url) as (app, services):
        with services.database.session() as session:
            add_model(session, NewModel(MODEL, "/nowhere", None, "float32", 512, "LlamaForCausalLM", 2, True))
        asked = caller(app, services)
        job = asked.post("/v1/jobs", {"kind": "generate", "model": MODEL, "inputs": [{"prompt": "a"}]})
        listed = asked.get("/v1/jobs")

    assert job.headers["Retry-After"] == "1"
    assert "Retry-After" not in listed.headers


def test_without_redis_nobody_waits_nor_is_limited(settings: Settings) -> None:
    """It takes connections and never says a word."""
    with (
        socket.create_server(("127.0.0.1", 0)) as frozen,
        limited(settings, f"redis://127.0.0.1:{frozen.getsockname()[1]}/0") as (app, services),
    ):
        asked = caller(app, services)
        start = time.monotonic()
        answers = [asked.get("/v1/jobs") for _ in range(2 * LIMIT)]
        elapsed_s = time.monotonic() - start

    assert [answer.status_code for answer in answers] == [200] * 2 * LIMIT
    assert elapsed_s < 3
    assert "X-RateLimit-Limit" not in answers[-1].headers


def test_a_limit_that_is_none_is_named() -> None:
    with pytest.raises(BadSetting, match="SKIM_RATE_LIMIT"):
        Settings.from_env({"SKIM_DATABASE_URL": "-", "SKIM_REDIS_URL": "-", "SKIM_RATE_LIMIT": "many"})
