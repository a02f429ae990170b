"""A service around a model that only repeats its prompt; nothing of it is started yet."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from sqlalchemy import text as sql

from cli.stack.postgres import Postgres
from models.catalog import NewModel, add_model
from models.database import connect
from tests.acceptance.workers.service import MODEL, TENANT, TIMES, Service, until
from tests.conftest import fresh_database
from tests.tools.networks import tiny
from tests.unit.workers.conftest import ASCII, save_tokenizer
from workers.queues import connect as broker

NUM_TOKENS = len(ASCII) + 3
LLAMA_LENGTH = 512
ECHO_LENGTH = 4096


@pytest.fixture(scope="session")
def echo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level tokenizer: one token a character of plain text."""
    return save_tokenizer(tmp_path_factory.mktemp("echo"), None)


@contextmanager
def open_service(
    database_url: str, redis_url: str, folder: Path, source: Path, num_layers: int = 1
) -> Iterator[Service]:
    """A service with a model and a tenant, nothing started yet. Its logs are shown when a test fails."""
    redis.Redis.from_url(redis_url.replace("redis+socket://", "unix://")).flushall()
    env = {**os.environ, **TIMES, "SKIM_DATABASE_URL": database_url, "SKIM_REDIS_URL": redis_url}
    env |= {"SKIM_HOME": str(folder), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    service = Service(connect(database_url, pool_size=4), broker(redis_url), env, folder, redis_url)
    model = NewModel(
        name=MODEL,
        source=str(source),
        revision=None,
        dtype="float64",  # of the random Llama: its text must not depend on who shares the batch
        context_length=LLAMA_LENGTH if (source / "model.safetensors").exists() else ECHO_LENGTH,
        architecture="Any",
        num_layers=num_layers,
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
            print((folder / f"{number}.log").read_text()[-4000:])  # noqa: T201 - pytest shows it on failure


@pytest.fixture
def service(database_url: str, redis_url: str, tmp_path: Path, echo_folder: Path) -> Iterator[Service]:
    """A service of the test's own, for tests that care who else is there. Not in one module with shared ones."""
    with open_service(database_url, redis_url, tmp_path, echo_folder) as opened:
        yield opened


@pytest.fixture(scope="module")
def module_database(postgres_server: Postgres, migrated_template: str) -> Iterator[str]:
    with fresh_database(postgres_server, migrated_template) as url:
        yield url


@pytest.fixture(scope="module")
def echo_service(
    module_database: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory, echo_folder: Path
) -> Iterator[Service]:
    """Control node, beat and one echo device, shared by the tests of a module."""
    with open_service(module_database, redis_url, tmp_path_factory.mktemp("home"), echo_folder) as opened:
        opened.start_control()
        opened.start_device()
        yield opened


@pytest.fixture
def shared(echo_service: Service) -> Service:
    """The module's echo service, with one device ready whatever the test before did to it."""
    until(echo_service.is_whole)
    return echo_service


@pytest.fixture(scope="module")
def llama(
    module_database: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory, llama_folder: Path
) -> Iterator[Service]:
    """Control node, beat and one real engine with a random Llama, shared by the tests of a module."""
    with open_service(module_database, redis_url, tmp_path_factory.mktemp("home"), llama_folder) as opened:
        opened.start_control()
        opened.start_device("--rows", "6", "--threads", "1", is_real=True)
        yield opened


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama whose tokens are printable characters."""
    folder = save_tokenizer(tmp_path_factory.mktemp("llama"), None, ASCII)
    tiny(vocabulary=NUM_TOKENS).save_pretrained(folder)
    return folder
