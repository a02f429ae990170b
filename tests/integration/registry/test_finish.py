"""Finish: shards end when their items have, jobs with their last shard, and what is stored then."""

import random
from functools import partial

import pytest

from models.claim import Claim
from models.errors import LeaseLost
from models.finish import release
from models.states import ItemStatus
from models.tally import Counts, DecodingStats, Usage
from tests.integration.registry.conftest import Registry, at_once, ref_of, result

GOOD, BAD = ItemStatus.SUCCEEDED, ItemStatus.FAILED
CANCELLED, EXPIRED = ItemStatus.CANCELLED, ItemStatus.EXPIRED


def test_a_shard_with_open_items_does_not_end(registry: Registry) -> None:
    job_id = registry.submit(2)
    claimed = registry.hold(job_id)
    registry.record(claimed, result(0))

    assert registry.finish(claimed) is False
    assert registry.shards(job_id) == [("running", 1)]


def test_a_job_ends_with_its_last_shard(registry: Registry) -> None:
    job_id = registry.submit(4)
    first, second = registry.hold(job_id, 0), registry.hold(job_id, 1)

    assert registry.complete(second) is False
    assert registry.view(job_id).status == "running"
    assert registry.complete(first) is True
    assert registry.finish(first) is True  # again, after an ambiguous commit
    assert registry.finish(second) is True
    view = registry.view(job_id)
    assert (view.status, view.error) == ("succeeded", None)
    assert view.finished_at is not None


def test_what_a_job_adds_up_to_is_stored(registry: Registry) -> None:
    job_id = registry.submit(4, shard_items=4)
    claimed = registry.hold(job_id)
    registry.record(claimed, result(0), result(1), result(2, BAD))
    before = registry.view(job_id)
    registry.record(claimed, result(3))
    registry.finish(claimed)
    registry.rows("DELETE FROM items WHERE job_id = :job_id", job_id=job_id)  # retention

    after = registry.view(job_id)
    assert before.counts == Counts(total=4, queued=1, succeeded=2, failed=1)
    assert before.usage == Usage(prompt_tokens=9, completion_tokens=30)
    assert after.counts == Counts(total=4, succeeded=3, failed=1)
    assert after.usage == Usage(prompt_tokens=12, completion_tokens=40)
    assert after.started_at is not None
    assert after.finished_at is not None
    elapsed_s = (after.finished_at - after.started_at).total_seconds()
    assert after.decoding_stats.tokens_per_second == pytest.approx(40 / elapsed_s, rel=0.5)
    assert after.decoding_stats == DecodingStats(
        drafter="lookup",
        skip_set_id=None,
        tokens_per_verify=2.5,
        acceptance_rate=0.75,
        tokens_per_second=after.decoding_stats.tokens_per_second,
    )


def test_a_job_that_never_decoded_has_no_rates(registry: Registry) -> None:
    job_id = registry.submit(1)
    view = registry.view(job_id)
    assert (view.usage, view.decoding_stats) == (Usage(), DecodingStats())


@pytest.mark.parametrize(
    ("statuses", "ends", "code"),
    [
        ((GOOD, GOOD, GOOD), "succeeded", None),
        ((GOOD, BAD, BAD), "succeeded", None),
        ((BAD, BAD, BAD), "failed", "all_items_failed"),
        ((GOOD, GOOD, CANCELLED), "cancelled", None),
        ((BAD, GOOD, EXPIRED), "expired", "deadline_exceeded"),
        ((GOOD, CANCELLED, EXPIRED), "cancelled", None),
    ],
)
def test_a_job_is_what_its_items_are(
    registry: Registry, statuses: tuple[ItemStatus, ...], ends: str, code: str | None
) -> None:
    job_id = registry.submit(3, shard_items=3)
    claimed = registry.hold(job_id)
    registry.record(claimed, *(result(index, status) for index, status in enumerate(statuses)))
    registry.finish(claimed)

    view = registry.view(job_id)
    assert view.status == ends
    assert (view.error or {}).get("code") == code


def test_two_workers_end_the_last_two_items_at_once(registry: Registry) -> None:
    """Neither may believe that the other still works."""
    for _ in range(40):
        job_id = registry.submit(2, shard_items=1)
        claims = [registry.hold(job_id, 0), registry.hold(job_id, 1)]

        ended = at_once(*(partial(registry.complete, claimed) for claimed in claims))

        assert sorted(ended) == [False, True]
        view = registry.view(job_id)
        assert (view.status, view.counts.succeeded) == ("succeeded", 2)


def test_many_workers_of_one_job(registry: Registry) -> None:
    """Eight threads carry 40 shards, some of which they give back or do twice: every item ends once."""
    num_items, threads = 120, 8
    job_id = registry.submit(num_items, shard_items=3)

    def work(seed: int) -> int:
        chance = random.Random(seed)
        num_ended = 0
        while registry.view(job_id).finished_at is None:
            claimed = registry.claim(job_id, chance.randrange(40), worker=f"w_{seed}")
            if claimed is not None:
                num_ended += carry(registry, claimed, chance)
        return num_ended

    ended = at_once(*(partial(work, seed) for seed in range(threads)))

    assert sum(count for count in ended if isinstance(count, int)) == 1
    assert [answer for answer in ended if not isinstance(answer, int)] == []
    assert registry.view(job_id).counts == Counts(total=num_items, succeeded=num_items)
    assert set(registry.rows("SELECT status FROM shards")) == {("finished",)}


def carry(registry: Registry, claimed: Claim, chance: random.Random) -> int:
    """Do a shard, or half of it; 1 when that ended the job."""
    indices = [item.index for item in claimed.items]
    registry.admit(claimed, indices)
    if chance.random() < 0.3:
        registry.record(claimed, *(result(index) for index in indices[:1]))
        with registry.database.session() as session:
            release(session, ref_of(claimed), claimed.epoch, lost=False)
        return 0
    registry.record(claimed, *(result(index) for index in indices))
    return int(registry.finish(claimed))


def test_a_finish_after_the_lease_is_refused(registry: Registry) -> None:
    job_id = registry.submit(1)
    zombie = registry.hold(job_id)
    registry.lapse(job_id)
    registry.hold(job_id)

    with pytest.raises(LeaseLost) as caught:
        registry.finish(zombie)
    assert (caught.value.job_id, caught.value.number, caught.value.epoch) == (job_id, 0, 1)
    assert registry.shards(job_id) == [("running", 2)]
