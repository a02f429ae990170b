"""Deliveries: one for each job that wants one, in one pair of hands at a time, and not for ever."""

from models.deliveries import MAX_ATTEMPTS, note_failed, take_delivery
from tests.integration.registry.conftest import Registry

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
