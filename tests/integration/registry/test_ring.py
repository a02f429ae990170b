"""Ring: a small window, fairly shared, at a cost that does not grow with the backlog."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from models import ring as ringing
from models.ring import ring
from models.shard import ShardRef
from models.states import Lane
from models.tenants import ensure_tenant
from tests.integration.registry.conftest import MODEL, TENANT, Registry, at_once

TIMEOUT_S = 5.0


def call(registry: Registry, window: int, lane: Lane = Lane.BULK, **queue: float) -> list[ShardRef]:
    with registry.database.session() as session:
        return ring(session, MODEL, lane, window=window, timeout_s=TIMEOUT_S, **queue)  # type: ignore[arg-type]


def weigh(registry: Registry, **weights: int) -> None:
    with registry.database.session() as session:
        for tenant_id, weight in weights.items():
            ensure_tenant(session, tenant_id, weight=weight)


def test_the_window_is_topped_up(registry: Registry) -> None:
    job_id = registry.submit(10, shard_items=1)

    first = call(registry, 4)
    registry.hold(job_id, 1)
    registry.hold(job_id, 3)

    assert first == [ShardRef(job_id, number) for number in range(4)]
    assert call(registry, 4) == [ShardRef(job_id, 4), ShardRef(job_id, 5)]
    assert call(registry, 4) == []


def test_a_ring_that_was_lost_is_rung_again(registry: Registry) -> None:
    job_id = registry.submit(4, shard_items=1)
    call(registry, 2)
    registry.rows("UPDATE shards SET rung_at = rung_at - interval '6 s' WHERE number = 0")

    assert call(registry, 2) == [ShardRef(job_id, 0)]


@pytest.mark.parametrize(("depth", "num_lost"), [(0, 6), (1, 5), (4, 2), (6, 0), (9, 0)])
def test_what_must_have_been_taken_from_the_queue_is_lost_after_a_while(
    registry: Registry, depth: int, num_lost: int
) -> None:
    """Of six that were rung the latest lie in the queue. Two tenants, so that the order is not that of the jobs."""
    for tenant_id in (TENANT, "ten_b"):
        registry.submit(3, shard_items=1, tenant_id=tenant_id)
    order = call(registry, 6)
    assert call(registry, 6, depth=depth, longest_s=60) == []
    registry.rows("UPDATE shards SET rung_at = rung_at - interval '6 s'")

    assert set(call(registry, 6, depth=depth, longest_s=60)) == set(order[:num_lost])
    registry.rows("UPDATE shards SET rung_at = rung_at - interval '60 s'")
    assert len(call(registry, 6, depth=6, longest_s=60)) == 6


def test_what_was_given_back_is_rung_at_once(registry: Registry) -> None:
    job_id = registry.submit(1)
    call(registry, 1)
    claimed = registry.hold(job_id)
    registry.rows("UPDATE shards SET status = 'queued', epoch = epoch + 1, lease_expires_at = NULL")

    assert claimed.epoch == 1
    assert call(registry, 1) == [ShardRef(job_id, 0)]


def test_the_oldest_first(registry: Registry) -> None:
    jobs = [registry.submit(1) for _ in range(5)]
    assert [ref.job_id for ref in call(registry, 3)] == jobs[:3]


def test_queues_do_not_meet(registry: Registry) -> None:
    bulk, interactive = registry.submit(4, shard_items=1), registry.submit(1, lane=Lane.INTERACTIVE)

    assert {ref.job_id for ref in call(registry, 4)} == {bulk}
    assert call(registry, 4, Lane.INTERACTIVE) == [ShardRef(interactive, 0)]
    assert call(registry, 4, Lane.SEARCH) == []


def test_a_newcomer_is_served_before_a_backlog(registry: Registry) -> None:
    registry.submit(50, shard_items=1)
    call(registry, 8)
    newcomer = registry.submit(3, shard_items=1, tenant_id="ten_b")

    assert call(registry, 11) == [ShardRef(newcomer, number) for number in range(3)]


def test_a_window_is_shared_by_weight(registry: Registry) -> None:
    weigh(registry, ten_heavy=3)
    owner = {registry.submit(40, shard_items=1, tenant_id=tenant): tenant for tenant in (TENANT, "ten_heavy")}

    assert Counter(owner[ref.job_id] for ref in call(registry, 16)) == {TENANT: 4, "ten_heavy": 12}


@pytest.mark.parametrize(("window", "slots"), [(5, 4), (9, 4), (16, 8), (4, 4)])
def test_work_is_shared_by_weight_over_time(registry: Registry, window: int, slots: int) -> None:
    """Weights 1 and 3 on a device that holds a few equal shards at a time: right to one shard in flight."""
    weigh(registry, ten_heavy=3)
    owner = {registry.submit(150, shard_items=1, tenant_id=tenant): tenant for tenant in (TENANT, "ten_heavy")}
    served: Counter[str] = Counter()
    waiting: list[ShardRef] = []
    held: list[Any] = []
    for _ in range(120):
        waiting += call(registry, window)
        while waiting and len(held) < slots:
            ref = waiting.pop(0)
            held.append(registry.hold(ref.job_id, ref.number))
        done = held.pop(0)
        registry.complete(done)
        served[owner[done.job_id]] += 1

    in_flight = window + slots - 1
    assert served["ten_heavy"] / 120 == pytest.approx(0.75, abs=0.5 / in_flight + 0.02)


@pytest.mark.parametrize("weight", [1, 3])
def test_shares_are_of_items_whatever_the_size_of_shards(registry: Registry, weight: int) -> None:
    """One tenant's jobs are of one item, the other's is of shards of sixteen."""
    weigh(registry, ten_small=weight)
    small = {registry.submit(1, tenant_id="ten_small") for _ in range(40 * weight)}
    large = registry.submit(640, shard_items=16)
    num_started: Counter[str] = Counter()
    waiting: list[ShardRef] = []
    held: list[Any] = []
    while num_started["small"] < len(small):
        waiting += call(registry, 16 * weight)
        while waiting and len(held) < 4:
            ref = waiting.pop(0)
            held.append(registry.hold(ref.job_id, ref.number))
            num_started["large" if ref.job_id == large else "small"] += len(held[-1].items)
        registry.complete(held.pop(0))

    assert num_started["large"] * weight == pytest.approx(num_started["small"], abs=2 * 16 * weight)


def test_small_shards_in_a_small_window_starve_nobody(registry: Registry) -> None:
    """The heavy tenant cannot have as many items in flight as are due to it."""
    weigh(registry, ten_heavy=100)
    for _ in range(8):
        registry.submit(1, tenant_id="ten_heavy")
    large = registry.submit(32, shard_items=16)

    assert ShardRef(large, 0) in call(registry, 4)


def test_nobody_starves_among_many_tenants(registry: Registry) -> None:
    tenants = {f"ten_{number:02}": 1 + number % 5 for number in range(20)}
    weigh(registry, **tenants)
    for tenant_id in tenants:
        registry.submit(6, shard_items=1, tenant_id=tenant_id)

    refs = call(registry, 20)
    first = {ref.job_id for ref in refs}

    assert len(refs) == 20
    for ref in refs:
        registry.complete(registry.hold(ref.job_id, ref.number))
    for _ in range(5):
        refs = call(registry, 20)
        first |= {ref.job_id for ref in refs}
        for ref in refs:
            registry.complete(registry.hold(ref.job_id, ref.number))
    assert len(first) == 20


def test_ringers_at_once_do_not_overfill(registry: Registry) -> None:
    registry.submit(40, shard_items=1)

    rung = at_once(*[lambda: call(registry, 8)] * 6)

    refs = [ref for answer in rung if isinstance(answer, list) for ref in answer]
    assert len(refs) == len(set(refs)) == 8


def test_a_shard_somebody_has_locked_is_left_alone(registry: Registry) -> None:
    job_id = registry.submit(3, shard_items=1)
    with registry.database.session() as session:
        session.execute(text("SELECT 1 FROM shards WHERE number = 0 FOR UPDATE"))
        assert call(registry, 2) == [ShardRef(job_id, 1)]


def test_the_cost_does_not_grow_with_the_backlog(registry: Registry) -> None:
    """100,000 shards wait; a top-up touches a few pages for each place in the window."""
    weigh(registry, ten_heavy=3)
    jobs = [registry.submit(1, tenant_id=tenant) for tenant in (TENANT, "ten_b", "ten_heavy")]
    registry.rows(
        """
        INSERT INTO shards (job_id, number, first, last, model, lane, tenant_id, created_at)
        SELECT id, number, number, number, model, lane, tenant_id, created_at
        FROM jobs, generate_series(1, 33333) AS number
        """
    )
    registry.rows("ANALYZE shards")
    assert len(jobs) == 3

    queue = {"model": MODEL, "lane": "bulk"}
    with registry.database.session() as session:
        explain = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {ringing.TOP_UP.text}")
        values = {"since": datetime.now(UTC) - timedelta(seconds=TIMEOUT_S), "free": 16}
        (plan,) = session.execute(explain, queue | values).scalar_one()
        explain = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {ringing.WAITING_QUEUES.text}")
        (hop,) = session.execute(explain).scalar_one()
        session.execute(text("UPDATE shards SET rung_at = created_at - interval '10 s' WHERE number < 8"))
        explain = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {ringing.RUNG.text}")
        waiting = {"depth": 12, "timeout_s": TIMEOUT_S, "longest_s": 60.0}
        (rung,) = session.execute(explain, queue | waiting).scalar_one()

    assert "Seq Scan on shards" not in str(plan)
    assert pages(rung) < 16 * 40
    assert pages(plan) < 16 * 40
    assert pages(hop) < 40


def pages(plan: dict[str, Any]) -> int:
    """Pages touched, cached or not."""
    node = plan["Plan"]
    return int(node["Shared Hit Blocks"] + node["Shared Read Blocks"])
