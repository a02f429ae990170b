"""Deliveries: one for each job that wants one, in one pair of hands at a time, and not for ever."""

from typing import Any

import pytest

from models.deliveries import MAX_ATTEMPTS, deliver_again, list_deliveries, note_failed, take_delivery
from models.errors import DeliveryNotFound, JobNotFound
from tests.integration.registry.conftest import TENANT, Registry

URL = "https://example.org/hook"


def test_only_a_job_that_asked_is_told_of_once(registry: Registry) -> None:
    asked, silent = registry.submit(1, webhook_url=URL), registry.submit(1)
    for job_id in (asked, silent):
        registry.complete(registry.hold(job_id))

    with registry.database.session() as session:
        taken = take_delivery(session)
    with registry.database.session() as session:
        again = take_delivery(session)

    assert taken is not None
    assert (taken.url, taken.attempts, taken.job["id"], taken.job["status"]) == (URL, 1, asked, "succeeded")
    assert again is None


def test_attempts_come_later_and_later_and_end(registry: Registry) -> None:
    registry.complete(registry.hold(registry.submit(1, webhook_url=URL)))
    waits = []

    for _ in range(MAX_ATTEMPTS):
        with registry.database.session() as session:
            taken = take_delivery(session)
            assert taken is not None
            note_failed(session, taken, "status 500")
        waits += [row[0] for row in registry.rows("SELECT extract(epoch FROM due_at - now())::float FROM deliveries")]
        registry.rows("UPDATE deliveries SET due_at = now() RETURNING id")

    for number, wait_s in enumerate(waits[:-1]):
        assert 0.5 * 5 * 4**number - 1 < wait_s < 1.5 * 5 * 4**number + 1
    assert registry.rows("SELECT status, attempts, last_error FROM deliveries") == [
        ("given_up", MAX_ATTEMPTS, "status 500")
    ]
    with registry.database.session() as session:
        assert take_delivery(session) is None


def take(registry: Registry, **whose: Any) -> str | None:
    """Whose turn it is: the tenant and the host of what is taken."""
    with registry.database.session() as session:
        taken = take_delivery(session, **whose)
    return None if taken is None else f"{taken.tenant_id} {taken.host}"


def test_whose_turn_it_is(registry: Registry) -> None:
    """The oldest of those that were not served yet; none of those who have enough."""
    for tenant_id, url in (
        (TENANT, "https://EXAMPLE.org:8443/hook?a=b"),
        (TENANT, "https://other.example/hook"),
        ("ten_b", "http://b.example"),
    ):
        registry.complete(registry.hold(registry.submit(1, tenant_id=tenant_id, webhook_url=url)))

    assert take(registry, full_hosts=["example.org:8443", "b.example"]) == f"{TENANT} other.example"
    assert take(registry, served=[TENANT]) == "ten_b b.example"
    assert take(registry, full_tenants=[TENANT]) is None
    assert take(registry, served=[TENANT]) == f"{TENANT} example.org:8443"
    assert take(registry) is None


def test_a_delivery_that_was_given_up_is_sent_again(registry: Registry) -> None:
    job_id = registry.submit(1, webhook_url=URL)
    registry.complete(registry.hold(job_id))
    registry.rows(
        "UPDATE deliveries SET attempts = :most, due_at = now() - interval '1 s' RETURNING id", most=MAX_ATTEMPTS - 1
    )
    with registry.database.session() as session:
        taken = take_delivery(session)
        assert taken is not None
        note_failed(session, taken, "status 500")
    with registry.database.session() as session:
        (given_up,) = list_deliveries(session, TENANT, job_id).data
        deliver_again(session, TENANT, job_id, taken.id)
        (waiting,) = list_deliveries(session, TENANT, job_id).data

    assert (given_up.status, given_up.attempts, given_up.due_at) == ("given_up", MAX_ATTEMPTS, None)
    assert (waiting.status, waiting.attempts, waiting.ended_at, waiting.last_error) == (
        "waiting",
        0,
        None,
        "status 500",
    )
    assert take(registry) == f"{TENANT} example.org"


def test_deliveries_of_others_do_not_exist(registry: Registry) -> None:
    job_id = registry.submit(1, webhook_url=URL)
    registry.complete(registry.hold(job_id))
    with registry.database.session() as session:
        (delivery,) = list_deliveries(session, TENANT, job_id).data

    with registry.database.session() as session:
        with pytest.raises(JobNotFound):
            list_deliveries(session, "ten_b", job_id)
        with pytest.raises(JobNotFound):
            deliver_again(session, "ten_b", job_id, delivery.id)
        with pytest.raises(DeliveryNotFound):
            deliver_again(session, TENANT, job_id, "evt_none")
