"""Cancel: what nobody holds ends at once, what is held when its holder hears of it; ended items are kept."""

from functools import partial

import pytest

from models.cancel import cancel
from models.database import connect
from models.errors import Conflict, JobNotFound
from models.states import ItemStatus
from models.tally import Counts
from tests.integration.registry.conftest import TENANT, Registry, at_once, result, start, until_blocked


def stop(registry: Registry, job_id: str, tenant_id: str = TENANT) -> bool:
    with registry.database.session() as session:
        return cancel(session, tenant_id, job_id)


def test_a_job_that_nobody_began_is_over_at_once(registry: Registry) -> None:
    job_id = registry.submit(4)

    assert stop(registry, job_id) is True
    view = registry.view(job_id)
    assert (view.status, view.counts) == ("cancelled", Counts(total=4, cancelled=4))
    assert view.cancel_requested_at is not None
    assert view.started_at is None
    assert registry.shards(job_id) == [("cancelled", 0)] * 2
    assert registry.claim(job_id) is None


def test_what_is_held_ends_with_its_holder(registry: Registry) -> None:
    job_id = registry.submit(4)
    claimed = registry.hold(job_id, 0)
    registry.record(claimed, result(0))

    assert stop(registry, job_id) is False
    halfway = registry.view(job_id)
    registry.record(claimed, result(1, ItemStatus.CANCELLED))
    assert registry.finish(claimed) is True

    assert (halfway.status, halfway.counts) == ("running", Counts(total=4, queued=1, succeeded=1, cancelled=2))
    view = registry.view(job_id)
    assert (view.status, view.counts) == ("cancelled", Counts(total=4, succeeded=1, cancelled=3))


def test_a_cancellation_that_comes_too_late_for_any_item(registry: Registry) -> None:
    job_id = registry.submit(2)
    claimed = registry.hold(job_id)
    stop(registry, job_id)
    registry.complete(claimed)

    assert registry.view(job_id).status == "succeeded"


def test_cancelling_again_changes_nothing(registry: Registry) -> None:
    job_id = registry.submit(2)
    registry.hold(job_id)
    stop(registry, job_id)
    first = registry.view(job_id)

    assert stop(registry, job_id) is False
    assert registry.view(job_id).cancel_requested_at == first.cancel_requested_at


def test_cancelling_what_is_cancelled_is_no_error(registry: Registry) -> None:
    job_id = registry.submit(2)
    stop(registry, job_id)
    assert stop(registry, job_id) is True


def test_what_has_ended_otherwise_cannot_be_cancelled(registry: Registry) -> None:
    job_id = registry.submit(1)
    registry.complete(registry.hold(job_id))
    with pytest.raises(Conflict, match="has ended already: succeeded"):
        stop(registry, job_id)


def test_only_the_owner_cancels(registry: Registry) -> None:
    job_id = registry.submit(1)
    with pytest.raises(JobNotFound):
        stop(registry, job_id, "ten_b")
    assert registry.view(job_id).cancel_requested_at is None


def test_a_first_claim_that_waits_for_a_cancellation_takes_nothing(registry: Registry) -> None:
    job_id = registry.submit(1)
    with registry.database.session() as session:
        cancel(session, TENANT, job_id)
        (waiting,) = start(lambda: registry.claim(job_id))
        until_blocked(registry)
    assert waiting() is None


def test_cancel_and_claims_at_once(registry: Registry) -> None:
    """Whoever comes first, nothing is left open that nobody holds."""
    for _ in range(20):
        job_id = registry.submit(6)

        answers = at_once(
            partial(stop, registry, job_id),
            *(partial(registry.claim, job_id, number) for number in range(3)),
        )

        assert not [answer for answer in answers if isinstance(answer, BaseException)]
        assert {status for status, _ in registry.shards(job_id)} <= {"running", "cancelled"}
        for claimed in answers[1:]:
            if claimed is not None:
                registry.complete(claimed, ItemStatus.CANCELLED)
        assert registry.view(job_id).status == "cancelled"


def test_cancel_and_finish_at_once(registry: Registry) -> None:
    for _ in range(20):
        job_id = registry.submit(2, shard_items=1)
        claimed = registry.hold(job_id, 0)

        answers = at_once(partial(stop, registry, job_id), partial(registry.complete, claimed))

        assert sorted(answers) == [False, True]
        view = registry.view(job_id)
        assert (view.status, view.counts) == ("cancelled", Counts(total=2, succeeded=1, cancelled=1))


def test_a_long_job_is_cancelled_within_the_time_of_a_statement(database_url: str, registry: Registry) -> None:
    """Right after its submit, when the planner knows nothing of its rows yet."""
    job_id = registry.submit(50_000, shard_items=16)
    service = connect(database_url, statement_timeout_ms=10_000)

    with service.session() as session:
        assert cancel(session, TENANT, job_id)
    service.close()

    assert registry.view(job_id).counts.cancelled == 50_000
