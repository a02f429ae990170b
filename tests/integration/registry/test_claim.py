"""Claims: one winner, one epoch more each time, suspects alone, and the poison item's third loss."""

from functools import partial

from models.claim import Claim
from models.finish import release
from models.record import ItemResult
from models.states import ItemStatus
from tests.integration.registry.conftest import Registry, at_once, ref_of, result


def lose(registry: Registry, claimed: Claim) -> None:
    """The engine dies under a shard."""
    with registry.database.session() as session:
        release(session, ref_of(claimed), claimed.epoch, lost=True)


def test_a_claim_brings_everything_to_work_with(registry: Registry) -> None:
    job_id = registry.submit(3, parameters={"max_tokens": 8}, decoding={"drafter": "plain"}, deadline_s=60)

    claimed = registry.hold(job_id, 1)

    assert (claimed.job_id, claimed.number, claimed.epoch) == (job_id, 1, 1)
    assert (claimed.kind, claimed.model, claimed.lane) == ("generate", "tiny", "bulk")
    assert (claimed.parameters, claimed.decoding, claimed.options) == ({"max_tokens": 8}, {"drafter": "plain"}, {})
    assert [(item.index, item.custom_id, item.input) for item in claimed.items] == [(2, "c2", {"prompt": "Say 2."})]
    assert [(item.attempts, item.suspect) for item in claimed.items] == [(0, False)]
    assert claimed.expires_at == registry.view(job_id).expires_at


def test_the_first_claim_starts_the_job(registry: Registry) -> None:
    job_id = registry.submit(4)
    registry.hold(job_id, 0)
    started = registry.view(job_id)
    registry.hold(job_id, 1)

    assert started.status == "running"
    assert started.started_at is not None
    assert registry.view(job_id).started_at == started.started_at


def test_what_cannot_be_claimed(registry: Registry) -> None:
    held, cancelled, overdue, done = (registry.submit(1) for _ in range(4))
    registry.hold(held)
    registry.rows("UPDATE jobs SET cancel_requested_at = now() WHERE id = :job_id", job_id=cancelled)
    registry.overdue(overdue)
    registry.complete(registry.hold(done))

    jobs = (held, cancelled, overdue, done, "job_nobody")
    assert [registry.claim(job_id) for job_id in jobs] == [None] * 5
    assert registry.claim(held, 7) is None
    assert registry.view(cancelled).status == "queued"


def test_of_many_one_wins(registry: Registry) -> None:
    for _ in range(10):
        job_id = registry.submit(2)

        claims = at_once(*[partial(registry.claim, job_id)] * 8)

        assert [type(claimed) for claimed in claims if claimed is not None] == [Claim]
        assert registry.shards(job_id) == [("running", 1)]


def test_of_many_one_takes_over(registry: Registry) -> None:
    job_id = registry.submit(2)
    registry.hold(job_id)
    registry.lapse(job_id)

    claims = at_once(*[lambda: registry.claim(job_id)] * 8)

    taken = [claimed for claimed in claims if isinstance(claimed, Claim)]
    assert [(claimed.epoch, claimed.is_takeover) for claimed in taken] == [(2, True)]


def test_a_shard_that_was_given_back_is_not_taken_over(registry: Registry) -> None:
    job_id = registry.submit(2)
    claimed = registry.hold(job_id)
    lose(registry, claimed)

    assert [claimed.is_takeover, registry.hold(job_id).is_takeover] == [False, False]


def test_a_second_claim_leaves_out_what_has_ended(registry: Registry) -> None:
    job_id = registry.submit(2)
    first = registry.hold(job_id)
    registry.record(first, result(0))
    registry.lapse(job_id)

    assert [item.index for item in registry.hold(job_id).items] == [1]


def test_what_was_running_is_suspect(registry: Registry) -> None:
    job_id = registry.submit(3, shard_items=3)
    first = registry.hold(job_id)
    registry.admit(first, [0, 1])
    lose(registry, first)

    second = registry.hold(job_id)

    assert [(item.index, item.attempts, item.suspect) for item in second.items] == [
        (0, 1, True),
        (1, 1, True),
        (2, 0, False),
    ]
    assert registry.items(job_id) == [("queued", 1), ("queued", 1), ("queued", 0)]


def test_a_suspect_that_was_not_admitted_again_stays_one(registry: Registry) -> None:
    job_id = registry.submit(1)
    first = registry.hold(job_id)
    registry.admit(first, [0])
    lose(registry, first)
    lose(registry, registry.hold(job_id))

    (item,) = registry.hold(job_id).items
    assert (item.attempts, item.suspect) == (1, True)


def test_a_poison_item_fails_alone(registry: Registry) -> None:
    """Item 1 kills every engine that admits it; suspects run alone, as a worker would run them."""
    job_id = registry.submit(3, shard_items=3)
    losses = 0
    while True:
        claimed = registry.hold(job_id)
        suspects = [item.index for item in claimed.items if item.suspect]
        others = [item.index for item in claimed.items if not item.suspect]
        batches = [[index] for index in suspects] + ([others] if others else [])
        for batch in batches:
            registry.admit(claimed, batch)
            if 1 in batch:
                losses += 1
                lose(registry, claimed)
                break
            registry.record(claimed, *(result(index) for index in batch))
        else:
            break

    assert registry.finish(claimed)
    assert (losses, claimed.num_lost) == (3, 1)
    assert registry.items(job_id) == [("succeeded", 2), ("failed", 3), ("succeeded", 2)]
    assert registry.view(job_id).status == "succeeded"
    ((code,),) = registry.rows("SELECT error ->> 'code' FROM items WHERE index = 1")
    assert code == "worker_lost"


def test_a_shard_whose_last_item_was_lost_for_good_is_finished_by_its_holder(registry: Registry) -> None:
    job_id = registry.submit(1)
    for _ in range(3):
        claimed = registry.hold(job_id)
        registry.admit(claimed, [0])
        lose(registry, claimed)

    last = registry.hold(job_id)

    assert last.items == ()
    assert registry.finish(last)
    assert registry.view(job_id).status == "failed"


def test_attempts_are_given_back_on_release(registry: Registry) -> None:
    job_id = registry.submit(2)
    for _ in range(5):
        claimed = registry.hold(job_id)
        registry.admit(claimed, [0])
        with registry.database.session() as session:
            release(session, ref_of(claimed), claimed.epoch, lost=False)

    assert registry.items(job_id) == [("queued", 0), ("queued", 0)]
    assert registry.shards(job_id) == [("queued", 10)]
    assert not any(item.suspect for item in registry.hold(job_id).items)


def test_ended_items_survive_a_release(registry: Registry) -> None:
    job_id = registry.submit(2)
    claimed = registry.hold(job_id)
    registry.admit(claimed, [0, 1])
    done: ItemResult = result(0, ItemStatus.SUCCEEDED)
    registry.record(claimed, done)
    with registry.database.session() as session:
        release(session, ref_of(claimed), claimed.epoch, lost=False)

    assert registry.items(job_id) == [("succeeded", 1), ("queued", 0)]
