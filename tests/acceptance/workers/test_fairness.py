"""Two tenants with a backlog each: the device serves them by weight, and the broker holds a handful of messages."""

from __future__ import annotations

import redis

from models.states import JobKind, Lane
from models.submit import NewItem, NewJob, submit
from models.tenants import ensure_tenant
from tests.acceptance.workers.service import MODEL, Service, until

NUM_ITEMS = 2000
WEIGHTS = {"ten_light": 1, "ten_heavy": 3}


def test_a_backlog_is_served_by_weight(service: Service) -> None:
    with service.database.session() as session:
        for tenant, weight in WEIGHTS.items():
            ensure_tenant(session, tenant, weight=weight)
            parameters = {"max_tokens": 4, "temperature": 0.0, "seed": 7}
            job = NewJob(tenant, JobKind.GENERATE, MODEL, Lane.BULK, parameters, {"drafter": "auto"})
            submit(session, job, [NewItem(None, {"prompt": "abcd"})] * NUM_ITEMS, shard_items=4)
    service.start_control()
    service.start_device("--rows", "16", SKIM_BULK_THREADS="8", ECHO_STEP_S="0.004")

    until(lambda: sum(done(service).values()) >= 400)
    finished = done(service)
    client = redis.Redis.from_url(service.redis_url.replace("redis+socket://", "unix://"))
    num_messages = client.llen(f"generate.{MODEL}.bulk")
    client.close()

    assert min(finished.values()) > 0
    assert 2.5 < finished["ten_heavy"] / finished["ten_light"] < 3.5, finished
    assert int(num_messages) <= 16


def done(service: Service) -> dict[str, int]:
    """Items that have succeeded, by tenant."""
    rows = service.rows(
        "SELECT tenant_id, count(*) AS num FROM items JOIN jobs ON jobs.id = items.job_id"
        " WHERE items.status = 'succeeded' GROUP BY tenant_id"
    )
    return dict.fromkeys(WEIGHTS, 0) | {row.tenant_id: row.num for row in rows}
