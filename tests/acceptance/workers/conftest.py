"""A service around a model that only repeats its prompt; nothing of it is started yet."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import text as sql

from models.catalog import NewModel, add_model
from models.database import connect
from tests.acceptance.workers.service import MODEL, TENANT, TIMES, Service
from tests.tools.networks import tiny
from tests.unit.workers.conftest import ASCII, save_tokenizer
from workers.queues import connect as broker

NUM_TOKENS = len(ASCII) + 3
LLAMA_LENGTH = 512


@pytest.fixture(scope="session")
def echo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level tokenizer: one token a character of plain text."""
    return save_tokenizer(tmp_path_factory.mktemp("echo"), None)


@pytest.fixture
def service(
    database_url: str, redis_url: str, echo_folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Service]:
    """A service with a model and a tenant, nothing started yet. Its logs are shown when the test fails."""
    redis.Redis.from_url(redis_url.replace("redis+socket://", "unix://")).flushall()
    env = {**os.environ, **TIMES, "SKIM_DATABASE_URL": database_url, "SKIM_REDIS_URL": redis_url}
    env |= {"SKIM_HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    service = Service(connect(database_url, pool_size=4), broker(redis_url), env, tmp_path)
    model = NewModel(
        name=MODEL,
        source=str(echo_folder),
        revision=None,
        dtype="float32",
        context_length=4096,
        architecture="Echo",
        num_layers=1,
        has_chat_template=False,
    )
    with service.database.session() as session:
        session.execute(sql("INSERT INTO tenants (id, name) VALUES (:id, :id)"), {"id": TENANT})
        add_model(session, model)
    try:
        yield service
    finally:
        service.stop()
        for number in range(len(service.processes)):
            print((tmp_path / f"{number}.log").read_text()[-4000:])  # noqa: T201 - pytest shows it on failure


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama whose tokens are printable characters."""
    folder = save_tokenizer(tmp_path_factory.mktemp("llama"), None, ASCII)
    tiny(vocabulary=NUM_TOKENS).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny_llama(service: Service, llama_folder: Path) -> Path:
    """Makes the service's model a random Llama, in float64 so that its text does not depend on who shares the batch."""
    with service.database.session() as session:
        values = {"source": str(llama_folder), "length": LLAMA_LENGTH, "name": MODEL}
        session.execute(
            sql("UPDATE models SET source = :source, dtype = 'float64', context_length = :length WHERE name = :name"),
            values,
        )
    return llama_folder
