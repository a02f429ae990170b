"""Retry: what was lost is tried again in a job of its own, in the place it had."""

from typing import Any

import pytest

from models.cancel import cancel
from models.errors import Conflict, IdempotencyMismatch, JobNotFound, QuotaExceeded
from models.retry import retry
from models.states import ItemStatus
from models.submit import Submitted
from tests.integration.registry.conftest import TENANT, Registry, result


def again(registry: Registry, job_id: str, **options: Any) -> Submitted:
    with registry.database.session() as session:
        return retry(session, TENANT, job_id, **options)


def half_failed(registry: Registry) -> str:
    """A job of four items in two shards, whose odd items failed."""
    job_id = registry.submit(4, parameters={"max_tokens": 5}, metadata={"a": "b"}, deadline_s=60)
    for number in range(2):
        claimed = registry.hold(job_id, number)
        statuses = [ItemStatus.FAILED if item.index % 2 else ItemStatus.SUCCEEDED for item in claimed.items]
        registry.record(
            claimed, *(result(item.index, status) for item, status in zip(claimed.items, statuses, strict=True))
        )
        registry.finish(claimed)
    return job_id


def test_a_new_job_of_the_failed_items(registry: Registry) -> None:
    old_id = half_failed(registry)
    old = registry.view(old_id)

    made = again(registry, old_id)

    new = registry.view(made.job_id)
    assert made.created
    assert (new.retry_of, new.parameters, new.metadata, new.lane) == (old_id, old.parameters, {"a": "b"}, old.lane)
    assert new.counts.total == new.counts.queued == 2
    assert new.expires_at is not None
    assert abs((new.expires_at - new.created_at).total_seconds() - 60) < 1
    assert [(item.index, item.custom_id, item.input) for item in registry.hold(made.job_id).items] == [
        (0, "c1", {"prompt": "Say 1.", "place": 1}),
        (1, "c3", {"prompt": "Say 3.", "place": 3}),
    ]
    assert registry.view(old_id) == old


def test_a_retry_of_a_retry_keeps_the_first_place(registry: Registry) -> None:
    first = again(registry, half_failed(registry)).job_id
    registry.complete(registry.hold(first), ItemStatus.FAILED)

    second = again(registry, first).job_id

    assert [item.input["place"] for item in registry.hold(second).items] == [1, 3]


def test_one_key_makes_one_retry(registry: Registry) -> None:
    old_id = half_failed(registry)

    first, second = (again(registry, old_id, key="k", fingerprint="f") for _ in range(2))

    assert (first.job_id, second.created) == (second.job_id, False)
    with pytest.raises(IdempotencyMismatch):
        again(registry, old_id, key="k", fingerprint="g")


def lost_in_every_way(registry: Registry) -> str:
    """A job of five items in three shards: one succeeded, one failed, one expired, two were cancelled."""
    job_id = registry.submit(5)
    first, second = registry.hold(job_id, 0), registry.hold(job_id, 1)
    registry.record(first, result(0), result(1, ItemStatus.FAILED))
    registry.record(second, result(2, ItemStatus.EXPIRED))
    registry.finish(first)
    with registry.database.session() as session:
        cancel(session, TENANT, job_id)
    registry.record(second, result(3, ItemStatus.CANCELLED))
    registry.finish(second)
    return job_id


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["c1", "c2", "c3", "c4"]),
        ({"statuses": [ItemStatus.FAILED]}, ["c1"]),
        ({"statuses": [ItemStatus.CANCELLED, ItemStatus.EXPIRED]}, ["c2", "c3", "c4"]),
    ],
)
def test_which_items_are_tried_again(registry: Registry, options: dict[str, Any], expected: list[str]) -> None:
    made = again(registry, lost_in_every_way(registry), **options)

    query = "SELECT custom_id FROM items WHERE job_id = :job_id ORDER BY index"
    assert [custom_id for (custom_id,) in registry.rows(query, job_id=made.job_id)] == expected


def test_what_cannot_be_tried_again(registry: Registry) -> None:
    running, good, past = (registry.submit(1) for _ in range(3))
    registry.complete(registry.hold(good))
    registry.complete(registry.hold(past), ItemStatus.FAILED)
    registry.rows("UPDATE jobs SET delete_at = now() - interval '1 s' WHERE id = :id", id=past)

    for job_id in (running, good):
        with pytest.raises(Conflict):
            again(registry, job_id)
    with pytest.raises(JobNotFound):
        again(registry, past)
    with pytest.raises(JobNotFound):
        again(registry, "job_nobody")
    assert registry.rows("SELECT count(*) FROM jobs") == [(3,)]


def test_a_retry_counts_for_the_quota(registry: Registry) -> None:
    old_id = half_failed(registry)
    registry.rows("UPDATE tenants SET max_open_items = 1 RETURNING id")

    with pytest.raises(QuotaExceeded):
        again(registry, old_id)
