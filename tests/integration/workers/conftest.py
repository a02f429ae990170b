"""A registry with one model and one tenant, and jobs in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from celery import Celery
from sqlalchemy import text as sql

from models.catalog import NewModel, add_model
from models.database import Database, connect
from models.states import JobKind, Lane
from models.submit import NewItem, NewJob, submit
from workers.queues import connect as broker

MODEL = "tiny"
TENANT = "ten_test"


@dataclass(frozen=True, slots=True)
class Registry:
    """The database and what tests ask of it."""

    database: Database
    url: str

    def submit(self, num_items: int = 1, shard_items: int = 1, **changes: Any) -> str:
        values = {"kind": JobKind.GENERATE, "parameters": {"max_tokens": 4, "seed": 1}, **changes}
        job = NewJob(tenant_id=TENANT, model=MODEL, lane=Lane.BULK, **values)
        field = "document" if job.kind is JobKind.SUMMARIZE else "prompt"
        items = [NewItem(None, {field: f"item {number}"}) for number in range(num_items)]
        with self.database.session() as session:
            return submit(session, job, items, shard_items=shard_items).job_id

    def rows(self, query: str, **values: Any) -> list[Any]:
        with self.database.session() as session:
            return list(session.execute(sql(query), values))


@pytest.fixture
def registry(database_url: str) -> Iterator[Registry]:
    database = connect(database_url, pool_size=3)
    model = NewModel(MODEL, "/nowhere", None, "float32", 512, "Any", 1, has_chat_template=False)
    with database.session() as session:
        session.execute(sql("INSERT INTO tenants (id, name) VALUES (:id, :id)"), {"id": TENANT})
        add_model(session, model)
    yield Registry(database, database_url)
    database.close()


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    """The broker, empty."""
    redis.Redis.from_url(redis_url.replace("redis+socket://", "unix://")).flushall()
    app = broker(redis_url)
    yield app
    app.close()
