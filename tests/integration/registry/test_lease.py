"""Heartbeats renew what is held and tell what must stop; flags tell the same and change nothing."""

from collections.abc import Callable, Sequence

import pytest
from sqlalchemy.orm import Session

from models.cancel import cancel
from models.lease import Heartbeat, flags, heartbeat
from tests.integration.registry.conftest import TENANT, Registry

Held = Sequence[tuple[str, int, int]]
NOBODY: frozenset[tuple[str, int]] = frozenset()

LEFT_S = "SELECT extract(epoch FROM lease_expires_at - now())::float8 FROM shards WHERE job_id = :job_id"


def renew(session: Session, held: Held) -> Heartbeat:
    return heartbeat(session, held, lease_s=100)


both = pytest.mark.parametrize("look", [renew, flags])
Look = Callable[[Session, Held], Heartbeat]


@both
def test_every_kind_of_news(registry: Registry, look: Look) -> None:
    kept, cancelled, overdue, taken, gone, released = (registry.submit(1) for _ in range(6))
    jobs = (kept, cancelled, overdue, taken, gone, released)
    held = [(job_id, 0, registry.hold(job_id).epoch) for job_id in jobs]
    with registry.database.session() as session:
        cancel(session, TENANT, cancelled)
    registry.overdue(overdue)
    registry.lapse(taken)
    registry.hold(taken)
    registry.rows("DELETE FROM jobs WHERE id = :job_id", job_id=gone)
    registry.rows(
        "UPDATE shards SET status = 'queued', lease_expires_at = NULL WHERE job_id = :job_id", job_id=released
    )

    with registry.database.session() as session:
        news = look(session, held)

    assert news == Heartbeat(
        lost=frozenset({(taken, 0), (gone, 0), (released, 0)}),
        cancelled=frozenset({(cancelled, 0)}),
        expired=frozenset({(overdue, 0)}),
    )


@both
def test_nothing_held(registry: Registry, look: Look) -> None:
    with registry.database.session() as session:
        assert look(session, []) == Heartbeat(NOBODY, NOBODY, NOBODY)


@both
def test_a_shard_held_twice(registry: Registry, look: Look) -> None:
    """Once as a zombie: it is lost to the one and cancelled for the other."""
    job_id = registry.submit(1)
    registry.hold(job_id)
    registry.lapse(job_id)
    registry.hold(job_id)
    with registry.database.session() as session:
        cancel(session, TENANT, job_id)
        news = look(session, [(job_id, 0, 1), (job_id, 0, 2)])

    assert news == Heartbeat(frozenset({(job_id, 0)}), frozenset({(job_id, 0)}), NOBODY)


def test_a_heartbeat_renews_even_a_lease_that_ran_out(registry: Registry) -> None:
    job_id = registry.submit(1)
    registry.hold(job_id, lease_s=1)
    registry.lapse(job_id)

    with registry.database.session() as session:
        renew(session, [(job_id, 0, 1)])

    assert registry.rows(LEFT_S, job_id=job_id)[0][0] == pytest.approx(100, abs=5)
    assert registry.claim(job_id) is None


def test_flags_renew_nothing(registry: Registry) -> None:
    job_id = registry.submit(1)
    registry.hold(job_id, lease_s=50)
    with registry.database.session() as session:
        flags(session, [(job_id, 0, 1)])

    assert registry.rows(LEFT_S, job_id=job_id)[0][0] < 50


def test_a_zombie_renews_nothing(registry: Registry) -> None:
    job_id = registry.submit(1)
    registry.hold(job_id)
    registry.lapse(job_id)
    registry.hold(job_id, lease_s=10)
    with registry.database.session() as session:
        news = renew(session, [(job_id, 0, 1)])

    assert news.lost == {(job_id, 0)}
    assert registry.rows(LEFT_S, job_id=job_id)[0][0] < 11
