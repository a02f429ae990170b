"""Drift from real rows: finished items are added up once, and a set whose acceptance dropped is marked."""

from datetime import UTC, datetime, timedelta

from models.drift import LAG_S, LOOK_S, watch
from models.record import ItemResult
from models.states import ItemStatus
from tests.integration.registry.conftest import Registry
from tests.integration.registry.test_searches import activated

BEGIN = datetime(2030, 7, 1, tzinfo=UTC)
LOOK = timedelta(seconds=LOOK_S)


def work(registry: Registry, skip_set_id: str | None, at: datetime, accepted: int, drafter: str = "skip") -> None:
    """A job of 60 items, ended at a time of our own, each of which had `accepted` or so of 100 drafts accepted."""
    job_id = registry.submit(60, shard_items=60)
    claimed = registry.hold(job_id)
    results = [
        ItemResult(
            index=index,
            status=ItemStatus.SUCCEEDED,
            output="text",
            finish_reason="stop",
            usage={"prompt_tokens": 1, "completion_tokens": 100},
            decoding={
                "drafter": drafter,
                "skip_set_id": skip_set_id,
                "verifies": 30,
                "drafted": 100,
                "accepted": accepted + index % 5 - 2,
            },
            error=None,
        )
        for index in range(60)
    ]
    registry.record(claimed, *results)
    registry.finish(claimed)
    # The guard freezes the time of what has ended, and a test has no other clock.
    registry.rows("ALTER TABLE jobs DISABLE TRIGGER jobs_guard")
    registry.rows("UPDATE jobs SET finished_at = :at WHERE id = :id", at=at, id=job_id)
    registry.rows("ALTER TABLE jobs ENABLE TRIGGER jobs_guard")


def look(registry: Registry, now: datetime) -> list[str]:
    with registry.database.session() as session:
        return watch(session, now=now + timedelta(seconds=LAG_S))


def stale(registry: Registry) -> list[tuple[object, ...]]:
    return registry.rows("SELECT stale_since IS NOT NULL, stale_evidence FROM skip_sets")


def test_a_drop_marks_the_set_with_its_evidence(registry: Registry) -> None:
    skip_set_id = activated(registry)
    registry.rows("UPDATE skip_sets SET watched_since = :at", at=BEGIN - LOOK)
    work(registry, skip_set_id, BEGIN, 80)
    assert look(registry, BEGIN) == []
    work(registry, skip_set_id, BEGIN + LOOK, 79)
    assert look(registry, BEGIN + LOOK) == []
    assert stale(registry) == [(False, None)]
    work(registry, skip_set_id, BEGIN + 2 * LOOK, 60)

    assert look(registry, BEGIN + 2 * LOOK) == [skip_set_id]
    ((is_stale, evidence),) = stale(registry)
    assert is_stale
    assert isinstance(evidence, dict)
    assert (evidence["before"], evidence["now"], evidence["num_before"], evidence["num_now"]) == (0.8, 0.6, 60, 60)
    assert 0 < evidence["noise"] < 0.02
    work(registry, skip_set_id, BEGIN + 3 * LOOK, 50)
    assert look(registry, BEGIN + 3 * LOOK) == []  # told once


def test_what_other_drafters_did_says_nothing(registry: Registry) -> None:
    skip_set_id = activated(registry)
    registry.rows("UPDATE skip_sets SET watched_since = :at", at=BEGIN - LOOK)
    work(registry, skip_set_id, BEGIN, 80)
    work(registry, skip_set_id, BEGIN + LOOK, 10, drafter="cascade")
    work(registry, None, BEGIN + LOOK, 10)
    look(registry, BEGIN + LOOK)

    assert registry.rows("SELECT skip_set_id, num_items, drafted, accepted FROM acceptances") == [
        (skip_set_id, 60, 6000, 4800)
    ]


def test_items_are_counted_once_however_often_somebody_looks(registry: Registry) -> None:
    skip_set_id = activated(registry)
    for number in range(3):
        work(registry, skip_set_id, BEGIN + number * LOOK, 80)
        for late in (0, 5, 10):
            look(registry, BEGIN + number * LOOK + timedelta(seconds=late))

    assert registry.rows("SELECT count(*), sum(num_items)::int FROM acceptances") == [(3, 180)]


def test_a_set_is_compared_with_itself_since_it_was_activated(registry: Registry) -> None:
    skip_set_id = activated(registry)
    registry.rows("UPDATE skip_sets SET watched_since = :at", at=BEGIN + LOOK)
    work(registry, skip_set_id, BEGIN, 95)  # under another load, before
    look(registry, BEGIN)
    for number in (2, 3):
        work(registry, skip_set_id, BEGIN + number * LOOK, 70)
        assert look(registry, BEGIN + number * LOOK) == []


def test_looks_at_what_nobody_drafts_with_are_forgotten(registry: Registry) -> None:
    retired, active = activated(registry), activated(registry)
    for skip_set_id in (retired, active):
        work(registry, skip_set_id, BEGIN, 80)
    look(registry, BEGIN)
    look(registry, BEGIN + timedelta(days=31))

    assert registry.rows("SELECT skip_set_id FROM acceptances") == [(active,)]
