"""The heart and the ledger on a real registry."""

import time
from collections.abc import Callable, Iterator
from queue import Queue

import pytest
from sqlalchemy import text as sql

from models.cancel import cancel
from models.claim import Claim, claim
from models.errors import LeaseLost
from models.faults import Point
from models.record import ItemResult
from models.states import ItemStatus
from models.sweep import sweep
from tests.integration.workers.conftest import TENANT, Registry
from workers.lease import Heart, Signal
from workers.ledger import Ledger

Hear = Queue[Signal]
OpenHeart = Callable[..., Heart]


@pytest.fixture
def open_heart(registry: Registry) -> Iterator[OpenHeart]:
    hearts: list[Heart] = []

    def make(*, is_alive: bool = True) -> Heart:
        hearts.append(Heart(registry.database, lease_s=1.0, beat_s=0.3, is_alive=lambda: is_alive))
        return hearts[-1]

    yield make
    for heart in hearts:
        heart.close()


def take(registry: Registry, job_id: str) -> Claim:
    with registry.database.session() as session:
        claimed = claim(session, job_id, 0, "wrk_test", lease_s=1.0)
    assert claimed is not None
    return claimed


def swept(registry: Registry) -> int:
    return sweep(registry.database, limit=10).requeued


def test_a_lease_is_kept_for_as_long_as_it_is_held(registry: Registry, open_heart: OpenHeart) -> None:
    claimed, heart, heard = take(registry, registry.submit()), open_heart(), Hear()
    heart.hold(claimed, heard.put)
    time.sleep(2)

    assert swept(registry) == 0
    assert heard.empty()


def test_a_lease_is_not_kept_for_an_engine_that_stands_still(registry: Registry, open_heart: OpenHeart) -> None:
    claimed, heart, heard = take(registry, registry.submit()), open_heart(is_alive=False), Hear()
    heart.hold(claimed, heard.put)
    time.sleep(1.3)

    assert swept(registry) == 1
    assert heard.get(timeout=1) is Signal.LOST


def test_a_cancellation_is_heard_within_a_second(registry: Registry, open_heart: OpenHeart) -> None:
    job_id = registry.submit()
    claimed, heart, heard = take(registry, job_id), open_heart(), Hear()
    heart.hold(claimed, heard.put)

    with registry.database.session() as session:
        cancel(session, TENANT, job_id)

    assert heard.get(timeout=1) is Signal.CANCELLED


def test_a_dropped_shard_is_heard_of_no_more(registry: Registry, open_heart: OpenHeart) -> None:
    job_id = registry.submit()
    claimed, heart, heard = take(registry, job_id), open_heart(), Hear()
    heart.hold(claimed, heard.put)
    heart.drop(claimed)
    with registry.database.session() as session:
        cancel(session, TENANT, job_id)
    time.sleep(0.8)

    assert heard.empty()


def test_a_ledger_survives_the_loss_of_its_connections(registry: Registry) -> None:
    job_id = registry.submit()
    ledger = Ledger(registry.database, take(registry, job_id))
    ledger.note([0], [])
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with registry.database.session() as session:
        session.execute(sql(f"SELECT pg_terminate_backend(pid) {others}"))

    ledger.note([0], [ItemResult(0, ItemStatus.SUCCEEDED, "text", "stop", {}, {}, None)])

    assert ledger.finish()
    assert [(row.status, row.attempts) for row in registry.rows("SELECT status, attempts FROM items")] == [
        ("succeeded", 1)
    ]


def test_points_of_a_write_are_on_the_side_of_the_commit_that_they_say(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(registry.database, take(registry, registry.submit(3, shard_items=3)))
    reached: list[tuple[str, str]] = []  # each point, and what others see of the items then

    def note_point(point: Point) -> None:
        statuses = registry.rows("SELECT left(status, 1) AS letter FROM items ORDER BY index")
        reached.append((point, "".join(row.letter for row in statuses)))

    monkeypatch.setattr("workers.ledger.reach", note_point)
    done = [ItemResult(index, ItemStatus.SUCCEEDED, "text", "stop", {}, {}, None) for index in range(3)]

    ledger.note([0, 1], [])
    ledger.note([2], done[:1])
    ledger.note([], done[1:])

    assert reached == [
        ("record.ready", "rrq"),
        ("record.committed", "srr"),
        ("record.ready", "srr"),
        ("record.committed", "sss"),
    ]


def test_a_zombie_writes_nothing(registry: Registry) -> None:
    job_id = registry.submit()
    zombie = Ledger(registry.database, take(registry, job_id))
    time.sleep(1.1)
    assert swept(registry) == 1
    take(registry, job_id)

    with pytest.raises(LeaseLost):
        zombie.note([0], [])
    with pytest.raises(LeaseLost):
        zombie.note([], [ItemResult(0, ItemStatus.SUCCEEDED, "zombie", "stop", {}, {}, None)])

    assert registry.rows("SELECT status, output FROM items") == [("queued", None)]
