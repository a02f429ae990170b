"""The bell on a real broker: bounded, never in the way."""

import ast
import json
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from celery import Celery
from prometheus_client import REGISTRY

from models.database import connect as connect_database
from models.opening import NewSearch, open_search
from models.states import Calibration, JobKind, Lane
from models.submit import NewJob
from tests.integration.workers.conftest import MODEL, TENANT, Registry
from workers.queues import SHARD_TASK, Bell, connect, queue_of

QUEUE = queue_of(MODEL, Lane.BULK).name
Open = Callable[..., Bell]


@pytest.fixture
def open_bell(registry: Registry, app: Celery) -> Iterator[Open]:
    """Makes bells on the test's registry, closed at the end."""
    bells: list[Bell] = []

    def make(app: Celery = app, **options: float) -> Bell:
        bells.append(Bell(registry.database, app, **options))  # type: ignore[arg-type]
        return bells[-1]

    yield make
    for bell in bells:
        bell.close()


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis.Redis.from_url(redis_url.replace("redis+socket://", "unix://"), decode_responses=True)


def messages(client: redis.Redis, queue: str = QUEUE) -> list[list[object]]:
    """The arguments of the queue's messages, oldest first."""
    found = client.lrange(queue, 0, -1)
    assert isinstance(found, list)
    headers = [json.loads(one)["headers"] for one in reversed(found)]
    assert {one["task"] for one in headers} <= {SHARD_TASK}
    return [list(ast.literal_eval(one["argsrepr"])) for one in headers]


def ring_and_close(bell: Bell) -> None:
    """Ring and wait until the bell has done it."""
    assert bell.ring(MODEL, Lane.BULK)
    bell.close()


def test_a_ring_publishes_what_waits(registry: Registry, open_bell: Open, client: redis.Redis) -> None:
    job_id = registry.submit(3)

    ring_and_close(open_bell())

    assert messages(client) == [[job_id, 0], [job_id, 1], [job_id, 2]]


def test_a_message_holds_nothing_but_the_shards_name(registry: Registry, open_bell: Open, client: redis.Redis) -> None:
    registry.submit(1)

    ring_and_close(open_bell())

    raw = client.lindex(QUEUE, 0)
    assert isinstance(raw, str)
    assert "item 0" not in raw


def test_the_broker_never_holds_more_than_the_window(registry: Registry, open_bell: Open, client: redis.Redis) -> None:
    registry.submit(20)

    for _ in range(4):
        ring_and_close(open_bell(window=5, timeout_s=0.01))
        time.sleep(0.02)

    assert client.llen(QUEUE) == 5


def test_lost_messages_are_rung_again(registry: Registry, open_bell: Open, client: redis.Redis) -> None:
    job_id = registry.submit(2)
    ring_and_close(open_bell(timeout_s=0.2))
    client.flushall()
    time.sleep(0.3)

    ring_and_close(open_bell(timeout_s=0.2))

    assert messages(client) == [[job_id, 0], [job_id, 1]]


def test_bulk_work_that_waits_in_the_queue_is_not_rung_twice(
    registry: Registry, open_bell: Open, client: redis.Redis
) -> None:
    """However long; but what a node has taken and does not claim is rung again though others lie in the queue."""
    job_id = registry.submit(8)
    ring_and_close(open_bell(window=4, timeout_s=0.1))
    client.rpop(QUEUE)
    registry.rows("UPDATE shards SET rung_at = rung_at - interval '5 s' WHERE rung_at IS NOT NULL RETURNING 1")

    for _ in range(3):
        ring_and_close(open_bell(window=4, timeout_s=0.1))
        time.sleep(0.2)

    assert messages(client) == [[job_id, number] for number in (1, 2, 3, 0)]


def test_messages_that_mean_nothing_hide_a_lost_one_for_a_while_only(
    registry: Registry, open_bell: Open, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = registry.submit(1)
    ring_and_close(open_bell(timeout_s=0.1))
    client.rename(QUEUE, "taken")
    client.rpush(QUEUE, "nonsense")
    time.sleep(0.2)

    ring_and_close(open_bell(timeout_s=0.1))
    num_hidden = client.llen(QUEUE)
    monkeypatch.setattr("workers.queues.bell.BACKLOG", 1)
    ring_and_close(open_bell(timeout_s=0.1))

    assert num_hidden == 1
    client.rpop(QUEUE)
    assert messages(client) == [[job_id, 0]]


def test_a_broker_that_is_away_holds_nobody_and_harms_nobody(
    registry: Registry, open_bell: Open, client: redis.Redis
) -> None:
    job_id = registry.submit(1)
    away = open_bell(connect("redis://127.0.0.1:1/0"))
    began = time.monotonic()
    assert all(away.ring(MODEL, Lane.BULK) for _ in range(1000))
    assert time.monotonic() - began < 0.2
    away.close()

    ring_and_close(open_bell(timeout_s=0.01))

    assert messages(client) == [[job_id, 0]]


def test_only_failures_of_publishing_count_as_such(registry: Registry, app: Celery) -> None:
    gone = connect_database("postgresql://skim@127.0.0.1:1/skim")
    before = failures()

    counted = []
    for bell in (Bell(gone, app), Bell(registry.database, connect("redis://127.0.0.1:1/0"))):
        bell.ring(MODEL, Lane.BULK)
        bell.close(10.0)  # more than the broker is tried for
        counted.append(failures() - before)

    assert counted == [0, 1]


def failures() -> float:
    """What the counter says; it does not know the lane before the first failure."""
    return REGISTRY.get_sample_value("skim_publish_failures_total", {"lane": Lane.BULK.value}) or 0


def test_more_queues_than_it_can_note_are_dropped(open_bell: Open) -> None:
    bell = open_bell(connect("redis://127.0.0.1:1/0"), capacity=2)

    noted = [bell.ring(f"model-{number}", Lane.BULK) for number in range(10)]

    assert 2 <= noted.count(True) <= 3  # two that wait and perhaps one being rung, whenever its thread takes it


def test_a_closed_bell_does_not_ring(open_bell: Open) -> None:
    bell = open_bell()
    bell.close()

    assert not bell.ring(MODEL, Lane.BULK)


def test_a_search_goes_to_the_queue_of_its_device_kind(
    registry: Registry, open_bell: Open, client: redis.Redis
) -> None:
    search = NewSearch("cuda", "1", "tpe", 8, None, promotes=True, seed=1, calibration=Calibration.BUILTIN)
    with registry.database.session() as session:
        job_id = open_search(session, NewJob(TENANT, JobKind.SEARCH, MODEL, Lane.SEARCH), search).job_id
    bell = open_bell()

    assert bell.ring(MODEL, Lane.SEARCH)
    assert bell.ring("no-such-model", Lane.SEARCH)
    bell.close()

    assert messages(client, f"search.{MODEL}.cuda") == [[job_id, 0]]
