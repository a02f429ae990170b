"""The whole service with an echoing engine, and the official client in front of it, which checks every answer's shape.

What the model says is its prompt, over and over: one token a character.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from sqlalchemy import text as sql

from cli.stack.postgres import Postgres
from models.keys import Scope, create_key
from models.tenants import ensure_tenant
from tests.acceptance.workers.conftest import open_service
from tests.acceptance.workers.service import TENANT, Service, until
from tests.conftest import fresh_database, own_redis
from tests.tools.serving import free_port
from tests.unit.workers.conftest import save_tokenizer

ROOT = Path(__file__).resolve().parents[3]
MODEL = "echo"
MAX_MIB = 64  # of an upload, here
TEMPLATE = "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}>"


@pytest.fixture(scope="package")
def world(
    postgres_server: Postgres, migrated_template: str, server_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """Control node, beat, an echo device and the API, with a broker of their own: they may outlive this folder's tests,
    and would take the messages of the next ones.
    """
    source = save_tokenizer(tmp_path_factory.mktemp("echo"), TEMPLATE)
    with (
        fresh_database(postgres_server, migrated_template) as url,
        own_redis(server_folder, "ro") as redis,
        open_service(url, redis.url, tmp_path_factory.mktemp("home"), source) as service,
    ):
        service.rows("UPDATE models SET has_chat_template = TRUE RETURNING id")
        service.env["SKIM_PRIVATE_WEBHOOKS"] = "yes"  # the receivers of these tests are on this machine
        service.start_control()
        service.start_device()
        yield service


@pytest.fixture(scope="package")
def address(world: Service) -> str:
    """Where the API listens."""
    return start_api(world, SKIM_MAX_STREAM_MB=str(MAX_MIB))


@pytest.fixture(scope="package")
def make_secret(world: Service) -> Callable[[str], str]:
    """A function that makes a key for a tenant."""

    def make(tenant: str) -> str:
        with world.database.session() as session:
            ensure_tenant(session, tenant)
            return create_key(session, tenant, "test", tuple(Scope))[1]

    return make


@pytest.fixture(scope="package")
def secret(make_secret: Callable[[str], str]) -> str:
    """The tenant's key."""
    return make_secret(TENANT)


@pytest.fixture(scope="package")
def client(address: str, secret: str) -> Iterator[OpenAI]:
    """The official client, which refuses answers that are not of the documented shape."""
    with OpenAI(base_url=f"{address}/v1", api_key=secret, _strict_response_validation=True) as opened:
        yield opened


@pytest.fixture(scope="package")
def impatient(client: OpenAI) -> OpenAI:
    """The same, without retries."""
    return client.with_options(max_retries=0)


@pytest.fixture
def stranger(address: str, make_secret: Callable[[str], str]) -> Iterator[OpenAI]:
    """A client of another tenant."""
    key = make_secret(f"ten_{secrets.token_hex(4)}")
    with OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, _strict_response_validation=True) as opened:
        yield opened


def wait(look: Callable[[], Any], statuses: Sequence[str], patience_s: float = 30.0) -> Any:
    """Look until the status is one of these; returns what was seen."""
    deadline = time.monotonic() + patience_s
    while (seen := look()).status not in statuses:
        assert time.monotonic() < deadline, f"still {seen.status}"
        time.sleep(0.1)
    return seen


def start_api(world: Service, **settings: str) -> str:
    """Start an API with these variables beside the usual ones; returns where it listens."""
    bind = f"127.0.0.1:{free_port()}"
    configuration = str(ROOT / "deploy/gunicorn.conf.py")
    world.start("gunicorn", "-c", configuration, "api.wsgi:app", SKIM_API_BIND=bind, **settings)
    until(lambda: _answers(f"http://{bind}/livez"))
    return f"http://{bind}"


def count_jobs(world: Service) -> int:
    """All jobs there are."""
    with world.database.session() as session:
        return int(session.execute(sql("SELECT count(*) FROM jobs")).scalar_one())


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False
