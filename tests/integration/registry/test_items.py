"""Items page by page: what is listed, and at which cost deep in a long job."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Select, text
from sqlalchemy.dialects import postgresql

from models import items
from models.cancel import cancel
from models.items import list_items
from models.states import ItemStatus
from tests.integration.registry.conftest import TENANT, Registry, result
from tests.integration.registry.test_ring import pages

LIMIT = 101
NUM_SHARDS = 3125
FAILED = (0, 7, 1500, 3124)  # shards with one failed item, their third

# 50,000 items that have ended, in shards of 16; each takes as much room as a short document.
FILL = (
    """
    INSERT INTO shards (job_id, number, first, last, model, lane, tenant_id, status, epoch, created_at, tally)
    SELECT id, number, number * 16, number * 16 + 15, model, lane, tenant_id, 'finished', 1, created_at,
        jsonb_build_object(
            'queued', 0, 'running', 0, 'cancelled', 0, 'expired', 0, 'prompt_tokens', 48, 'completion_tokens', 160,
            'succeeded', CASE WHEN number = ANY(:failed) THEN 15 ELSE 16 END,
            'failed', CASE WHEN number = ANY(:failed) THEN 1 ELSE 0 END
        )
    FROM jobs, generate_series(0, :last) AS number
    """,
    """
    INSERT INTO items (job_id, index, shard_number, input, status, finished_at)
    SELECT job_id, index, number, jsonb_build_object('prompt', repeat('word ', 150)),
        CASE WHEN index % 16 = 2 AND number = ANY(:failed) THEN 'failed' ELSE 'succeeded' END, now()
    FROM shards, generate_series(first, last) AS index
    """,
)


@pytest.fixture
def long_job(registry: Registry) -> str:
    """A job of 50,000 items."""
    job_id = registry.submit(1)
    registry.rows("DELETE FROM items")
    registry.rows("DELETE FROM shards")
    for statement in FILL:
        registry.rows(statement, failed=list(FAILED), last=NUM_SHARDS - 1)
    registry.rows("ANALYZE items")
    registry.rows("ANALYZE shards")
    return job_id


def explain(registry: Registry, query: Select[*tuple[Any, ...]]) -> dict[str, Any]:
    """What PostgreSQL does for it."""
    compiled = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]
    with registry.database.session() as session:
        (plan,) = session.execute(text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {compiled}")).scalar_one()
    found: dict[str, Any] = plan
    return found


def listed(registry: Registry, job_id: str, status: ItemStatus, after: int | None = None) -> list[int]:
    """The indices of a page."""
    with registry.database.session() as session:
        page = list_items(session, TENANT, job_id, after=after, limit=LIMIT - 1, status=status)
    return [item.index for item in page.data]


def test_a_page_costs_the_same_wherever_it_is(registry: Registry, long_job: str) -> None:
    early, late = (explain(registry, items._page(long_job, after, LIMIT)) for after in (-1, 49_800))

    for plan in (early, late):
        assert "Index Scan" in str(plan)
        assert "items_pkey" in str(plan)
        assert plan["Plan"]["Actual Rows"] == LIMIT
        assert pages(plan) < LIMIT


@pytest.mark.parametrize("after", [-1, 30_000])
@pytest.mark.parametrize("status", [ItemStatus.FAILED, ItemStatus.SUCCEEDED, ItemStatus.CANCELLED])
def test_a_page_of_one_status_passes_over_what_has_none(
    registry: Registry, long_job: str, status: ItemStatus, after: int
) -> None:
    """The shards are looked at, which are narrow; of the items a fraction."""
    ((num_pages,),) = registry.rows("SELECT relpages FROM pg_class WHERE relname = 'items'")
    ((num_shard_pages,),) = registry.rows("SELECT relpages FROM pg_class WHERE relname = 'shards'")

    plan = explain(registry, items._page_of_status(long_job, after, LIMIT, status))

    assert "Seq Scan on items" not in str(plan)
    assert num_pages > 5000
    assert pages(plan) < 2 * num_shard_pages + LIMIT


def test_what_failed_in_a_long_job(registry: Registry, long_job: str) -> None:
    expected = [number * 16 + 2 for number in FAILED]

    assert listed(registry, long_job, ItemStatus.FAILED) == expected
    assert listed(registry, long_job, ItemStatus.FAILED, after=expected[1]) == expected[2:]
    assert listed(registry, long_job, ItemStatus.SUCCEEDED, after=-1)[:3] == [0, 1, 3]
    assert listed(registry, long_job, ItemStatus.QUEUED) == []


def test_items_of_each_status_wherever_their_shards_are(registry: Registry) -> None:
    """Finished, held, given back, never touched, and withdrawn before and after it was held."""
    job_id = registry.submit(8)
    registry.complete(registry.hold(job_id, 0))
    held = registry.hold(job_id, 1)
    registry.admit(held, [2])
    registry.record(held, result(3, ItemStatus.FAILED))
    registry.record(registry.hold(job_id, 2), result(4))
    registry.rows("UPDATE shards SET status = 'queued', epoch = 2, lease_expires_at = NULL WHERE number = 2")
    before = {status: listed(registry, job_id, status) for status in ItemStatus}
    with registry.database.session() as session:
        cancel(session, TENANT, job_id)
    after = {status: listed(registry, job_id, status) for status in ItemStatus}

    nobody = {status: list[int]() for status in ItemStatus}
    assert before == nobody | {
        ItemStatus.SUCCEEDED: [0, 1, 4],
        ItemStatus.RUNNING: [2],
        ItemStatus.FAILED: [3],
        ItemStatus.QUEUED: [5, 6, 7],
    }
    assert after == nobody | {
        ItemStatus.SUCCEEDED: [0, 1, 4],
        ItemStatus.RUNNING: [2],
        ItemStatus.FAILED: [3],
        ItemStatus.CANCELLED: [5, 6, 7],
    }
