"""A fresh real database with one model and two tenants, and the moves that tests are made of."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Barrier
from typing import Any, TypeVar

import pytest
from sqlalchemy import text

from models.catalog import NewModel, add_model
from models.claim import Claim, claim
from models.database import Database, connect
from models.finish import finish
from models.jobs import JobView, get_job
from models.record import ItemResult, record
from models.shard import ShardRef
from models.states import ItemStatus, JobKind, Lane
from models.submit import NewItem, NewJob, submit
from models.tenants import ensure_tenant

MODEL = "tiny"
TENANT = "ten_a"
LEASE_S = 60.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Registry:
    """A database and the moves on it, each a transaction of its own."""

    database: Database

    def submit(self, num_items: int = 4, *, shard_items: int = 2, **changes: Any) -> str:
        """A job of numbered prompts."""
        values: dict[str, Any] = {"tenant_id": TENANT, "kind": JobKind.GENERATE, "model": MODEL, "lane": Lane.BULK}
        items = (NewItem(f"c{index}", {"prompt": f"Say {index}."}) for index in range(num_items))
        with self.database.session() as session:
            return submit(session, NewJob(**values | changes), items, shard_items=shard_items).job_id

    def claim(self, job_id: str, number: int = 0, *, worker: str = "w_a", lease_s: float = LEASE_S) -> Claim | None:
        """Claim whatever comes of it."""
        with self.database.session() as session:
            return claim(session, job_id, number, worker, lease_s=lease_s)

    def hold(self, job_id: str, number: int = 0, *, lease_s: float = LEASE_S) -> Claim:
        """Claim what must be there to claim."""
        claimed = self.claim(job_id, number, lease_s=lease_s)
        assert claimed is not None
        return claimed

    def admit(self, claimed: Claim, indices: Sequence[int]) -> None:
        with self.database.session() as session:
            record(session, ref_of(claimed), claimed.epoch, [], admitted=indices)

    def record(self, claimed: Claim, *results: ItemResult) -> frozenset[int]:
        with self.database.session() as session:
            return record(session, ref_of(claimed), claimed.epoch, results)

    def finish(self, claimed: Claim) -> bool:
        with self.database.session() as session:
            return finish(session, ref_of(claimed), claimed.epoch)

    def complete(self, claimed: Claim, status: ItemStatus = ItemStatus.SUCCEEDED) -> bool:
        """Do all its items and finish it."""
        self.record(claimed, *(result(item.index, status) for item in claimed.items))
        return self.finish(claimed)

    def view(self, job_id: str, tenant_id: str = TENANT) -> JobView:
        with self.database.session() as session:
            return get_job(session, tenant_id, job_id)

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """What a query finds, changes included."""
        with self.database.session() as session:
            found = session.execute(text(query), values)
            return [tuple(row) for row in found] if found.returns_rows else []  # type: ignore[attr-defined]

    def items(self, job_id: str) -> list[tuple[str, int]]:
        """(status, attempts) by index."""
        query = "SELECT status, attempts FROM items WHERE job_id = :job_id ORDER BY index"
        return [(status, attempts) for status, attempts in self.rows(query, job_id=job_id)]

    def shards(self, job_id: str) -> list[tuple[str, int]]:
        """(status, epoch) by number."""
        query = "SELECT status, epoch FROM shards WHERE job_id = :job_id ORDER BY number"
        return [(status, epoch) for status, epoch in self.rows(query, job_id=job_id)]

    def lapse(self, job_id: str, number: int = 0) -> None:
        """Let a lease be over."""
        self.rows(
            "UPDATE shards SET lease_expires_at = now() - interval '1 s' WHERE job_id = :job_id AND number = :number",
            job_id=job_id,
            number=number,
        )

    def overdue(self, job_id: str) -> None:
        """Let a job's deadline be past."""
        self.rows("UPDATE jobs SET expires_at = now() - interval '1 s' WHERE id = :job_id", job_id=job_id)


def ref_of(claimed: Claim) -> ShardRef:
    return ShardRef(claimed.job_id, claimed.number)


def result(index: int, status: ItemStatus = ItemStatus.SUCCEEDED, output: str | None = None) -> ItemResult:
    """How an item ended, with costs that are easy to add up."""
    is_good = status is ItemStatus.SUCCEEDED
    return ItemResult(
        index=index,
        status=status,
        output=(output or f"text {index}") if is_good else None,
        finish_reason="stop" if is_good else None,
        usage={"prompt_tokens": 3, "completion_tokens": 10},
        decoding={"drafter": "lookup", "skip_set_id": None, "verifies": 4, "drafted": 8, "accepted": 6},
        error={"code": "context_exceeded", "message": "too long"} if status is ItemStatus.FAILED else None,
    )


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What calls give, or raise, that start at the same moment on a thread each."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def start(*calls: Callable[[], T]) -> list[Callable[[], T]]:
    """Run calls on threads of their own; each given function waits for its call's answer or raises its error."""
    pool = ThreadPoolExecutor(len(calls))
    futures = [pool.submit(call) for call in calls]
    pool.shutdown(wait=False)
    return [partial(future.result, 20) for future in futures]


def until_blocked(registry: Registry, num: int = 1) -> None:
    """Return once `num` backends of this database wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 10
    while registry.rows(waiting)[0][0] < num:
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.01)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = connect(database_url, pool_size=12, statement_timeout_ms=20_000)
    yield opened
    opened.close()


@pytest.fixture
def registry(database: Database) -> Registry:
    with database.session() as session:
        for tenant_id in (TENANT, "ten_b"):
            ensure_tenant(session, tenant_id)
        add_model(session, model(MODEL))
    return Registry(database)


def model(name: str, revision: str | None = None) -> NewModel:
    return NewModel(
        name=name,
        source="/nowhere",
        revision=revision,
        dtype="float32",
        context_length=512,
        architecture="LlamaForCausalLM",
        num_layers=2,
        has_chat_template=True,
    )
