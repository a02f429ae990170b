"""Gauges: every item that is open is counted once, in the place where it is."""

from models.catalog import add_model
from models.finish import release
from models.fleet import WorkerBeat, announce
from models.gauges import FleetGauge, Gauges, QueueGauge, read_gauges
from models.states import Lane
from tests.integration.registry.conftest import MODEL, Registry, model, ref_of, result


def look(registry: Registry) -> Gauges:
    with registry.database.session() as session:
        return read_gauges(session)


def queue(registry: Registry, lane: Lane = Lane.BULK) -> QueueGauge:
    return next(one for one in look(registry).queues if (one.model, one.lane) == (MODEL, lane))


def test_an_empty_queue_is_there_with_zeros(registry: Registry) -> None:
    found = look(registry)

    assert found.queues == tuple(QueueGauge(MODEL, lane, 0, 0, 0, 0, 0, 0.0, 0) for lane in sorted(Lane))
    assert found.fleet == (FleetGauge(MODEL, 0, 0, 0, 0),)
    assert (found.jobs_queued, found.jobs_running, found.webhooks_waiting, found.webhooks_overdue_s) == (0, 0, 0, 0.0)


def test_items_are_counted_where_they_are(registry: Registry) -> None:
    job_id = registry.submit(7, shard_items=2)  # shards of 2, 2, 2 and 1
    held = registry.hold(job_id)
    registry.admit(held, [0])
    registry.hold(job_id, 1)
    registry.lapse(job_id, 1)
    registry.submit(1, lane=Lane.INTERACTIVE)
    registry.rows("UPDATE shards SET created_at = now() - interval '90 s' WHERE number = 3")

    bulk = queue(registry)

    assert (bulk.shards_waiting, bulk.shards_held, bulk.overdue) == (2, 2, 1)
    assert (bulk.items_waiting, bulk.items_claimed, bulk.items_running) == (3, 3, 1)
    assert 90 <= bulk.oldest_s < 150
    assert queue(registry, Lane.INTERACTIVE).items_waiting == 1
    found = look(registry)
    assert (found.jobs_queued, found.jobs_running) == (1, 1)


def test_what_comes_back_waits_without_its_finished_items(registry: Registry) -> None:
    job_id = registry.submit(4, shard_items=4)
    held = registry.hold(job_id)
    registry.admit(held, [0, 1])
    registry.record(held, result(0))
    with registry.database.session() as session:
        release(session, ref_of(held), held.epoch, lost=True)

    bulk = queue(registry)

    assert (bulk.shards_waiting, bulk.items_waiting, bulk.items_running) == (1, 3, 0)


def test_workers_are_counted_by_model_and_status(registry: Registry) -> None:
    with registry.database.session() as session:
        add_model(session, model("other"))
        for number, status in enumerate(("ready", "ready", "loading")):
            announce(session, WorkerBeat(f"w{number}", "w", "h", 1, MODEL, "cpu", "cpu", "float32", 8, status))
        announce(session, WorkerBeat("gone", "w", "h", 1, MODEL, "cpu", "cpu", "float32", 8, "ready"))
    registry.rows("UPDATE workers SET last_seen_at = now() - interval '1 h' WHERE id = 'gone'")

    assert look(registry).fleet == (FleetGauge("other", 0, 0, 0, 0), FleetGauge(MODEL, 2, 1, 0, 16))


def test_webhooks_that_wait_are_told_with_their_age(registry: Registry) -> None:
    job_id = registry.submit(1, webhook_url="https://example.org/hook")
    registry.complete(registry.hold(job_id))
    registry.rows("UPDATE deliveries SET due_at = now() - interval '30 s'")

    found = look(registry)

    assert found.webhooks_waiting == 1
    assert 30 <= found.webhooks_overdue_s < 90
