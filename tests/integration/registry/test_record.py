"""Record: fenced by the epoch, safe to repeat."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from models.claim import Claim
from models.errors import LeaseLost
from models.finish import finish, release
from models.record import record
from models.states import ItemStatus
from tests.integration.registry.conftest import Registry, at_once, ref_of, result, start, until_blocked


def test_admission_counts_an_attempt_once(registry: Registry) -> None:
    job_id = registry.submit(2)
    claimed = registry.hold(job_id)
    registry.admit(claimed, [0])
    registry.admit(claimed, [0])  # after an ambiguous commit

    assert registry.items(job_id) == [("running", 1), ("queued", 0)]
    assert registry.rows("SELECT started_at IS NOT NULL FROM items ORDER BY index") == [(True,), (False,)]


def test_what_begins_and_what_ends_is_one_write(registry: Registry) -> None:
    job_id = registry.submit(4, shard_items=4)
    claimed = registry.hold(job_id)
    registry.admit(claimed, [0])

    for _ in range(2):  # the second time after an ambiguous commit
        with registry.database.session() as session:
            ended = record(session, ref_of(claimed), claimed.epoch, [result(0), result(1), result(3)], admitted=[1, 2])
        assert ended == {0, 1, 3}

    assert registry.items(job_id) == [("succeeded", 1), ("succeeded", 1), ("running", 1), ("succeeded", 0)]
    started = "SELECT started_at IS NOT NULL FROM items ORDER BY index"
    assert registry.rows(started) == [(True,), (True,), (True,), (False,)]


def test_a_result_is_written_whole(registry: Registry) -> None:
    job_id = registry.submit(2)
    claimed = registry.hold(job_id)
    registry.admit(claimed, [0, 1])
    good, bad = result(0, output="tab\t nul \0 half \ud83d end"), result(1, ItemStatus.FAILED)

    assert registry.record(claimed, good, bad) == {0, 1}
    assert registry.rows("SELECT status, output, finish_reason, usage, decoding, error FROM items ORDER BY index") == [
        ("succeeded", "tab\t nul \ufffd half ? end", "stop", good.usage, good.decoding, None),
        ("failed", None, None, bad.usage, bad.decoding, bad.error),
    ]
    assert registry.rows("SELECT finished_at >= started_at FROM items") == [(True,), (True,)]


def test_choices_and_logprobs_are_written_whole(registry: Registry) -> None:
    claimed = registry.hold(registry.submit(2))
    logprobs = {"content": [{"token": "nul \0", "logprob": -0.25, "bytes": [0], "top_logprobs": []}]}
    clean = {"content": [{"token": "nul \ufffd", "logprob": -0.25, "bytes": [0], "top_logprobs": []}]}
    choices = [
        {"index": index, "output": f"text {index}", "finish_reason": "stop", "logprobs": None} for index in range(2)
    ]

    registry.record(claimed, replace(result(0), choices=choices), replace(result(1), logprobs=logprobs))

    assert registry.rows("SELECT choices, logprobs FROM items ORDER BY index") == [(choices, None), (None, clean)]


def test_a_second_write_changes_nothing_and_counts_as_success(registry: Registry) -> None:
    job_id = registry.submit(2)
    claimed = registry.hold(job_id)
    registry.record(claimed, result(0, output="first"))

    assert registry.record(claimed, result(0, output="second"), result(1)) == {0, 1}
    assert registry.rows("SELECT output FROM items WHERE index = 0") == [("first",)]


def test_items_of_other_shards_are_out_of_reach(registry: Registry) -> None:
    job_id = registry.submit(4)
    claimed = registry.hold(job_id, 0)
    registry.admit(claimed, [1, 2])

    assert registry.record(claimed, result(2), result(3)) == frozenset()
    assert registry.items(job_id) == [("queued", 0), ("running", 1), ("queued", 0), ("queued", 0)]


@pytest.mark.parametrize("status", [ItemStatus.QUEUED, ItemStatus.RUNNING])
def test_a_result_is_terminal(registry: Registry, status: ItemStatus) -> None:
    claimed = registry.hold(registry.submit(1))
    with pytest.raises(ValueError, match=f"a result cannot be {status}"):
        registry.record(claimed, result(0, status))


def lapse_and_reclaim(registry: Registry, claimed: Claim) -> None:
    registry.lapse(claimed.job_id)
    registry.hold(claimed.job_id)


def give_up(registry: Registry, claimed: Claim) -> None:
    with registry.database.session() as session:
        release(session, ref_of(claimed), claimed.epoch, lost=False)


def end(registry: Registry, claimed: Claim) -> None:
    registry.complete(claimed)


def erase(registry: Registry, claimed: Claim) -> None:
    registry.rows("DELETE FROM jobs WHERE id = :job_id", job_id=claimed.job_id)


@pytest.mark.parametrize("happens", [lapse_and_reclaim, give_up, end, erase])
def test_a_zombie_writes_nothing(registry: Registry, happens: Callable[[Registry, Claim], None]) -> None:
    job_id = registry.submit(1)
    zombie = registry.hold(job_id)
    happens(registry, zombie)
    before = registry.rows("SELECT * FROM items")

    for write in (
        lambda: registry.admit(zombie, [0]),
        lambda: registry.record(zombie, result(0, output="from the grave")),
        lambda: give_up(registry, zombie),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert registry.rows("SELECT * FROM items") == before


def test_an_overdue_holder_writes_until_somebody_else_takes_the_shard(registry: Registry) -> None:
    job_id = registry.submit(1)
    claimed = registry.hold(job_id)
    registry.lapse(job_id)

    assert registry.record(claimed, result(0)) == {0}


def test_a_zombie_that_waits_for_the_takeover_writes_nothing(registry: Registry) -> None:
    """The write starts before the release commits, so its snapshot still shows the old epoch."""
    job_id = registry.submit(1)
    zombie = registry.hold(job_id)
    with registry.database.session() as session:
        release(session, ref_of(zombie), zombie.epoch, lost=True)
        (waiting,) = start(lambda: registry.record(zombie, result(0)))
        until_blocked(registry)
    with pytest.raises(LeaseLost):
        waiting()
    assert registry.items(job_id) == [("queued", 0)]


def test_a_finish_waits_for_a_result_on_its_way(registry: Registry) -> None:
    job_id = registry.submit(1)
    claimed = registry.hold(job_id)
    with registry.database.session() as session:
        record(session, ref_of(claimed), claimed.epoch, [result(0)])
        (waiting,) = start(lambda: registry.finish(claimed))
        until_blocked(registry)
    assert waiting()
    assert registry.view(job_id).status == "succeeded"


def test_release_and_record_at_once(registry: Registry) -> None:
    """Whoever comes first, an item is written under a good epoch or not at all."""
    for _ in range(20):
        job_id = registry.submit(1)
        claimed = registry.hold(job_id)

        wrote, released = at_once(partial(registry.record, claimed, result(0)), partial(give_up, registry, claimed))

        assert released is None
        expected = "succeeded" if wrote == {0} else "queued"
        assert isinstance(wrote, LeaseLost) or wrote == {0}
        assert registry.items(job_id) == [(expected, 0)]
        assert registry.shards(job_id) == [("queued", 2)]


def test_two_holders_of_one_job_do_not_wait_for_each_other(registry: Registry) -> None:
    job_id = registry.submit(4)
    first, second = registry.hold(job_id, 0), registry.hold(job_id, 1)
    with registry.database.session() as session:
        record(session, ref_of(first), first.epoch, [result(0)])
        assert registry.record(second, result(2)) == {2}
        assert finish(session, ref_of(first), first.epoch) is False
