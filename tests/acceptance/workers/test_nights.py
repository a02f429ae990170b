"""A night on a real control node: two messages of two beats, one search, rung into the queue of its device kind."""

from dataclasses import replace

import redis

from models.fleet import WorkerBeat, announce
from models.schedules import put_schedule
from tests.acceptance.workers.service import MODEL, TENANT, Service, until
from tests.tools.nightly import SCHEDULE
from workers.queues import CONTROL, NIGHTS_TASK

BEAT = WorkerBeat("w_a", "w", "h", 1, MODEL, "cpu", "cpu", "float64", 4, "ready", ("skip",))


def test_a_due_schedule_opens_one_search_and_rings_it(service: Service) -> None:
    with service.database.session() as session:
        announce(session, BEAT)
        put_schedule(session, TENANT, MODEL, replace(SCHEDULE, cron="0 * * * *"))
    # So the last full hour is still to be dealt with.
    service.rows("UPDATE schedules SET looked_until = now() - interval '1 hour' RETURNING id")
    service.start_control()

    for _ in range(2):
        service.app.send_task(NIGHTS_TASK, queue=CONTROL)
    until(lambda: service.rows("SELECT 1 FROM fires"))

    broker = redis.Redis.from_url(service.redis_url.replace("redis+socket://", "unix://"))
    until(lambda: broker.llen(f"search.{MODEL}.cpu") == 1)
    assert [tuple(row) for row in service.rows("SELECT decision, reason FROM fires")] == [("opened", "never_searched")]
    assert service.rows("SELECT count(*) AS num FROM jobs WHERE kind = 'search'")[0].num == 1
