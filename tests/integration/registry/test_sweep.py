"""Sweep: whatever was lost is found, without waiting for anybody."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from models import sweep as sweeping
from models.cancel import cancel
from models.database import connect, is_outage
from models.deliveries import take_delivery
from models.files import NewFile, add_file
from models.finish import release
from models.keys import Scope, create_key
from models.record import record
from models.ring import waiting_queues
from models.states import Lane
from models.sweep import TRY_LOCK, Swept, sweep
from models.tables.files import FilePurpose
from models.tally import Counts
from tests.integration.registry.conftest import MODEL, TENANT, Registry, ref_of, result

BULK = ((MODEL, Lane.BULK),)


def clean(registry: Registry, limit: int = 100) -> Swept:
    return sweep(registry.database, limit=limit)


def test_nothing_to_do(registry: Registry) -> None:
    assert clean(registry) == Swept()


def test_a_lease_that_ran_out(registry: Registry) -> None:
    lost, kept = registry.submit(2), registry.submit(2)
    claimed = registry.hold(lost)
    registry.admit(claimed, [0])
    registry.hold(kept)
    registry.lapse(lost)

    assert clean(registry) == Swept(requeued=1, queues=BULK)
    assert registry.shards(lost) == [("queued", 2)]
    assert registry.shards(kept) == [("running", 1)]
    assert [(item.index, item.suspect) for item in registry.hold(lost).items] == [(0, True), (1, False)]


def test_a_worker_that_died_before_its_finish(registry: Registry) -> None:
    job_id = registry.submit(2)
    claimed = registry.hold(job_id)
    registry.record(claimed, result(0), result(1))
    registry.lapse(job_id)
    clean(registry)

    second = registry.hold(job_id)
    assert second.items == ()
    assert registry.finish(second) is True
    assert registry.view(job_id).status == "succeeded"


def test_webhooks_that_are_due(registry: Registry) -> None:
    registry.complete(registry.hold(registry.submit(1, webhook_url="https://example.org/hook")))
    assert clean(registry).has_webhooks

    with registry.database.session() as session:
        take_delivery(session)
    assert not clean(registry).has_webhooks


def test_a_deadline_with_nobody_at_work(registry: Registry) -> None:
    job_id = registry.submit(4)
    claimed = registry.hold(job_id)
    registry.record(claimed, result(0))
    with registry.database.session() as session:
        release(session, ref_of(claimed), claimed.epoch, lost=False)
    registry.overdue(job_id)

    assert clean(registry) == Swept(ended=1, expired=1)
    view = registry.view(job_id)
    assert (view.status, view.counts) == ("expired", Counts(total=4, succeeded=1, expired=3))
    assert view.error == {
        "code": "deadline_exceeded",
        "message": "the deadline passed before every item was done",
    }


def test_a_deadline_with_somebody_at_work(registry: Registry) -> None:
    """The rest expires at once; the holder hears of it by its heartbeat."""
    job_id = registry.submit(4)
    claimed = registry.hold(job_id)
    registry.overdue(job_id)

    assert clean(registry) == Swept(expired=1)
    assert clean(registry) == Swept()
    assert registry.shards(job_id) == [("running", 1), ("expired", 0)]
    registry.complete(claimed)
    assert registry.view(job_id).counts == Counts(total=4, succeeded=2, expired=2)


def test_a_deadline_and_a_dead_worker(registry: Registry) -> None:
    job_id = registry.submit(2)
    registry.admit(registry.hold(job_id), [0])
    registry.overdue(job_id)
    registry.lapse(job_id)

    assert clean(registry) == Swept(requeued=1, ended=1, expired=1)
    assert registry.view(job_id).counts == Counts(total=2, expired=2)


@pytest.mark.parametrize("lost", [True, False])
def test_a_cancelled_job_whose_holder_went_away(registry: Registry, lost: bool) -> None:
    job_id = registry.submit(2)
    claimed = registry.hold(job_id)
    registry.admit(claimed, [0])
    with registry.database.session() as session:
        cancel(session, TENANT, job_id)
    with registry.database.session() as session:
        release(session, ref_of(claimed), claimed.epoch, lost=lost)

    assert clean(registry) == Swept(ended=1)
    view = registry.view(job_id)
    assert (view.status, view.counts) == ("cancelled", Counts(total=2, cancelled=2))


def test_a_finish_that_was_never_made(registry: Registry) -> None:
    """No code path leaves a job like this; the sweep would still end it."""
    job_id = registry.submit(2)
    claimed = registry.hold(job_id)
    registry.record(claimed, result(0), result(1))
    registry.rows(
        "UPDATE shards SET status = 'finished', lease_expires_at = NULL WHERE job_id = :job_id", job_id=job_id
    )

    assert clean(registry) == Swept(ended=1)
    assert registry.view(job_id).status == "succeeded"


def test_a_limit_is_kept(registry: Registry) -> None:
    job_id = registry.submit(10)
    for number in range(5):
        registry.hold(job_id, number)
        registry.lapse(job_id, number)

    assert [clean(registry, limit=2).requeued for _ in range(4)] == [2, 2, 1, 0]


def test_one_sweep_at_a_time(registry: Registry) -> None:
    registry.hold(job_id := registry.submit(2))
    registry.lapse(job_id)
    with registry.database.session() as session:
        session.execute(TRY_LOCK)
        assert clean(registry) == Swept(is_whole=False)
        assert registry.shards(job_id) == [("running", 1)]
    assert clean(registry) == Swept(requeued=1, queues=BULK)


def test_what_was_given_back_is_so_whatever_comes_of_the_rest(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, cancelled = registry.submit(2), registry.submit(2)
    registry.hold(lost)
    registry.lapse(lost)
    cancel_released(registry, cancelled)

    def die(*_: object) -> None:
        assert registry.shards(lost) == [("queued", 2)]  # seen by others
        raise RuntimeError

    monkeypatch.setattr("models.sweep.end_job", die)
    with pytest.raises(RuntimeError):
        clean(registry)

    assert registry.shards(lost) == [("queued", 2)]


def test_jobs_are_stopped_a_bounded_number_of_items_at_a_time(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None that is larger is left out for it, and all are stopped while there is time."""
    small, large = ([cancel_released(registry, registry.submit(num)) for _ in range(3)] for num in (2, 5))
    overdue = [registry.submit(2) for _ in range(3)]
    for job_id in overdue:
        registry.overdue(job_id)
    stopped: list[list[str]] = []
    end = sweeping._end

    def watch(*given: Any) -> list[bool]:
        before = ended_jobs(registry, given[0])
        ended = end(*given)
        stopped.append(sorted(ended_jobs(registry, given[0]) - before))
        return ended

    monkeypatch.setattr(sweeping, "_end", watch)
    first = sweep(registry.database, items=4, for_s=0)
    rest = sweep(registry.database, items=4, for_s=10)

    assert (first.ended, first.expired, rest.ended, rest.expired) == (4, 2, 5, 1)
    assert stopped == [
        small[:2],
        overdue[:2],
        [small[2], large[0]],
        overdue[2:],
        [large[1]],
        [],
        [large[2]],
        [],
        [],
        [],
    ]


def ended_jobs(registry: Registry, session: Session | None = None) -> set[str]:
    """Those that have ended, as others or a transaction see it."""
    query = "SELECT id FROM jobs WHERE finished_at IS NOT NULL"
    rows = registry.rows(query) if session is None else session.execute(text(query)).all()
    return {row[0] for row in rows}


def cancel_released(registry: Registry, job_id: str) -> str:
    """Have a job cancelled with its shards in somebody's hands, who gives them back."""
    claims = [registry.hold(job_id, number) for number in range(len(registry.shards(job_id)))]
    with registry.database.session() as session:
        cancel(session, TENANT, job_id)
    for claimed in claims:
        with registry.database.session() as session:
            release(session, ref_of(claimed), claimed.epoch, lost=False)
    return job_id


def test_a_job_that_ends_while_it_is_looked_at_is_left_alone(registry: Registry) -> None:
    """Its lock is waited for by nobody, and what is found under it is what counts."""
    job_id = registry.submit(2)
    claimed = registry.hold(job_id)
    registry.record(claimed, result(0), result(1))
    registry.overdue(job_id)
    with registry.database.session() as session:
        session.execute(text("SELECT FROM jobs WHERE id = :id FOR UPDATE"), {"id": job_id})
        assert clean(registry) == Swept()


def test_who_is_frozen_while_it_copies_keeps_no_locks(
    database_url: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own limit of a statement does not end the wait."""
    database = connect(database_url, application_name="skim-frozen", pool_size=1, statement_timeout_ms=200)
    monkeypatch.setattr("models.sweep.COPY_S", 1.0)
    alive = "SELECT wait_event FROM pg_stat_activity WHERE application_name = 'skim-frozen'"
    frozen: list[tuple[str | None, ...]] = []

    def chunks() -> Iterator[bytes]:
        yield b"x" * 1_000_000
        for _ in range(2):
            time.sleep(0.6)
            frozen.extend(registry.rows(alive))
            clean(registry)
        assert registry.rows(alive) == []
        yield b"x" * 1_000_000

    with pytest.raises(DBAPIError) as raised, database.session() as session:
        add_file(session, NewFile(TENANT, "a", FilePurpose.USER_DATA), chunks())

    assert is_outage(raised.value)
    assert frozen == [("ClientRead",)] * 2
    database.close()


def test_what_is_locked_is_left_for_the_next_sweep(registry: Registry) -> None:
    busy, idle = registry.submit(1), registry.submit(1)
    claims = [registry.hold(job_id) for job_id in (busy, idle)]
    for job_id in (busy, idle):
        registry.lapse(job_id)
    with registry.database.session() as session:
        record(session, ref_of(claims[0]), claims[0].epoch, [result(0)])
        assert clean(registry).requeued == 1
    assert registry.shards(busy) == [("running", 1)]
    assert clean(registry).requeued == 1


def test_old_records_are_forgotten(registry: Registry) -> None:
    registry.submit(1, idempotency_key="old", fingerprint="f")
    registry.submit(1, idempotency_key="new", fingerprint="f")
    registry.rows("UPDATE idempotency_keys SET created_at = now() - interval '25 h' WHERE key = 'old'")
    clean(registry)

    assert registry.rows("SELECT key FROM idempotency_keys") == [("new",)]


def test_keys_are_forgotten_long_after_they_were_worth_something(registry: Registry) -> None:
    with registry.database.session() as session:
        for name in ("good", "revoked", "revoked before it expires", "expired", "expired lately"):
            create_key(session, TENANT, name, {Scope.JOBS})
    registry.rows("UPDATE api_keys SET revoked_at = now() - interval '91 days' WHERE name LIKE 'revoked%'")
    registry.rows("UPDATE api_keys SET expires_at = now() WHERE name LIKE '%before it expires'")
    registry.rows("UPDATE api_keys SET expires_at = now() - interval '91 days' WHERE name = 'expired'")
    registry.rows("UPDATE api_keys SET expires_at = now() - interval '89 days' WHERE name = 'expired lately'")

    clean(registry)

    assert registry.rows("SELECT name FROM api_keys ORDER BY name") == [("expired lately",), ("good",)]


def test_the_queues_that_have_work(registry: Registry) -> None:
    registry.submit(4)
    registry.submit(2, lane=Lane.INTERACTIVE)
    registry.hold(registry.submit(2, lane=Lane.SEARCH))
    with registry.database.session() as session:
        assert waiting_queues(session) == [(MODEL, Lane.BULK), (MODEL, Lane.INTERACTIVE)]


def test_a_tenants_jobs_are_kept_as_long_as_it_says(registry: Registry) -> None:
    registry.rows("UPDATE tenants SET keep_s = 3600 WHERE id = :id", id=TENANT)
    plain, own = registry.submit(2), registry.submit(2, keep_s=60)
    for job_id in (plain, own):
        registry.complete(registry.hold(job_id))

    query = "SELECT extract(epoch FROM delete_at - finished_at)::int FROM jobs WHERE id = :id"
    assert [registry.rows(query, id=job_id) for job_id in (plain, own)] == [[(3600,)], [(60,)]]
