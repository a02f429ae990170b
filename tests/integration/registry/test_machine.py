"""The registry against a model of it: any order of moves, claimers that race, leases that lapse, holders that are late.

The model says in a few lines of Python what each move does; after every step the rows must say the same.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from models.cancel import cancel
from models.claim import MAX_LOSSES, Claim
from models.errors import Conflict, LeaseLost
from models.finish import release
from models.lease import heartbeat
from models.retry import LOST, retry
from models.states import ItemStatus
from models.sweep import sweep
from tests.integration.registry.conftest import LEASE_S, TENANT, Registry, at_once, ref_of, result
from tests.integration.registry.model import OPEN, Item, Job, Shard

MOST_JOBS = 2  # beside retries: the fewer there are, the more befalls each

ROWS = """
SELECT id, status, (counts ->> 'total')::int, (SELECT count(*) FROM deliveries WHERE job_id = jobs.id),
    (SELECT jsonb_agg(jsonb_build_array(status, epoch) ORDER BY number) FROM shards WHERE job_id = jobs.id),
    (SELECT jsonb_agg(jsonb_build_array(status, attempts, output) ORDER BY index) FROM items WHERE job_id = jobs.id)
FROM jobs
"""
ENDS = st.sampled_from([ItemStatus.SUCCEEDED, ItemStatus.FAILED])


class Registered(RuleBasedStateMachine):
    """Rules are moves; `claims` are all that were ever given out, stale ones included."""

    claims = Bundle("claims")
    ids = Bundle("ids")

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self.registry = registry
        self.jobs: dict[str, Job] = {}

    def shard(self, claimed: Claim) -> Shard:
        return self.jobs[claimed.job_id].shards[claimed.number]

    def item(self, claimed: Claim, place: int) -> tuple[int, Item]:
        """One of a claimed shard's items, and its index in the job."""
        job, shard = self.jobs[claimed.job_id], self.shard(claimed)
        first = sum(len(other.items) for other in job.shards[: claimed.number])
        place %= len(shard.items)
        return first + place, shard.items[place]

    def expect(self, is_held: bool, move: Callable[[], Any]) -> Any:
        """What a fenced move gives; the fence must hold if, and only if, the model says so."""
        try:
            given = move()
        except LeaseLost:
            assert not is_held
            return None
        assert is_held
        return given

    # The client

    @precondition(lambda self: len(self.jobs) < MOST_JOBS)
    @rule(target=ids, sizes=st.sampled_from([[1], [2], [2, 1], [2, 2]]))
    def submit(self, sizes: list[int]) -> str:
        job_id = self.registry.submit(sum(sizes), shard_items=2, webhook_url="http://localhost/")
        self.jobs[job_id] = Job([Shard([Item() for _ in range(size)]) for size in sizes])
        return job_id

    @rule(job_id=ids)
    def cancel(self, job_id: str) -> None:
        job = self.jobs[job_id]
        try:
            with self.registry.database.session() as session:
                cancel(session, TENANT, job_id)
        except Conflict:
            assert job.status not in (*OPEN, "cancelled")
            return
        assert job.status in (*OPEN, "cancelled")
        if job.status in OPEN:
            job.is_cancelling = True
            job.withdraw("cancelled")
            job.end()

    @rule(target=ids, job_id=ids)
    def retry(self, job_id: str) -> Any:
        old = self.jobs[job_id]
        lost = [item for item in old.items if item.status in LOST]
        try:
            with self.registry.database.session() as session:
                new_id = retry(session, TENANT, job_id).job_id
        except Conflict:
            assert old.status in OPEN or not lost
            return multiple()
        assert old.status not in OPEN and lost
        self.jobs[new_id] = Job([Shard([Item() for _ in lost])])
        return new_id

    # Workers

    @rule(target=claims, job_id=ids, number=st.integers(0, 1), num_claimers=st.integers(1, 3))
    def claim(self, job_id: str, number: int, num_claimers: int) -> Any:
        return given(self.have_claimed(job_id, number, num_claimers))

    def have_claimed(self, job_id: str, number: int, num_claimers: int = 1) -> Claim | None:
        """At most one of those that come at once gets it, and one does if it is to be had."""
        job = self.jobs[job_id]
        got = [one for one in at_once(*[lambda: self.registry.claim(job_id, number)] * num_claimers) if one is not None]
        assert not [one for one in got if isinstance(one, Exception)]
        is_free = number < len(job.shards) and job.may_be_claimed and job.shards[number].is_free
        assert len(got) == is_free
        if not got:
            return None
        claimed: Claim = got[0]
        job.status = "running"
        self.take(job.shards[number], claimed.epoch, job.shards[number].epoch + 1)
        open_items = [(one.attempts, one.attempts > 0) for one in job.shards[number].items if one.status == "queued"]
        assert [(one.attempts, one.suspect) for one in claimed.items] == open_items
        return claimed

    @rule(target=claims, claimed=claims)
    def take_over(self, claimed: Claim) -> Any:
        """What was held becomes another's and a third's; the first does not know and says that he lives."""
        self.lapse(claimed)
        second = self.have_claimed(claimed.job_id, claimed.number, 2)
        self.lapse(claimed)
        self.beat(claimed)
        third = self.have_claimed(claimed.job_id, claimed.number, 2)
        return multiple(*[one for one in (second, third) if one is not None])

    @rule(target=claims, claimed=claims, num_times=st.integers(1, MAX_LOSSES))
    def lose(self, claimed: Claim, num_times: int) -> Any:
        """The engine dies with everything in it, and somebody takes the shard again."""
        last: Claim | None = claimed
        for _ in range(num_times):
            if last is not None:
                for place in range(len(self.shard(last).items)):
                    self.admit(last, place)
                self.release(last, is_lost=True)
                last = self.have_claimed(last.job_id, last.number)
        return given(last)

    @rule(claimed=claims, is_lost=st.booleans())
    def cancel_and_release(self, claimed: Claim, is_lost: bool) -> None:
        """The holder never heard of it."""
        self.cancel(claimed.job_id)
        self.release(claimed, is_lost)
        self.sweep()

    @rule(job_id=ids)
    def end_together(self, job_id: str) -> None:
        """All shards are done by workers of their own, who finish at the same moment."""
        held = [self.have_claimed(job_id, number) for number in range(len(self.jobs[job_id].shards))]
        holders = [one for one in held if one is not None]
        for one in holders:
            self.record_all(one)
        if holders:
            self.finish(holders)

    def take(self, shard: Shard, epoch: int, *epochs: int) -> None:
        assert epoch in epochs
        shard.status, shard.epoch, shard.has_lapsed = "running", epoch, False
        for item in shard.items:
            if item.status == "running":
                item.status = "failed" if item.attempts >= MAX_LOSSES else "queued"

    @rule(claimed=claims, place=st.integers(0, 1))
    def admit(self, claimed: Claim, place: int) -> None:
        index, item = self.item(claimed, place)
        is_held = self.shard(claimed).is_held(claimed.epoch)
        self.expect(is_held, lambda: self.registry.admit(claimed, [index]))
        if is_held and item.status == "queued":
            item.status, item.attempts = "running", item.attempts + 1

    @rule(claimed=claims, place=st.integers(0, 1), status=ENDS)
    def record(self, claimed: Claim, place: int, status: ItemStatus) -> None:
        index, item = self.item(claimed, place)
        is_held = self.shard(claimed).is_held(claimed.epoch)
        text = f"{claimed.epoch} says {status} of {index}"
        written = self.expect(is_held, lambda: self.registry.record(claimed, result(index, status, text)))
        if is_held:
            assert written == {index}
            item.end(status, text if status is ItemStatus.SUCCEEDED else None)

    @rule(claimed=claims)
    def complete(self, claimed: Claim) -> None:
        """Record whatever is open and finish, as a worker does in the end."""
        self.record_all(claimed)
        self.finish([claimed])

    def record_all(self, claimed: Claim) -> None:
        for place in range(len(self.shard(claimed).items)):
            self.record(claimed, place, ItemStatus.SUCCEEDED)

    @rule(claimed=st.lists(claims, min_size=1, max_size=2))
    def finish(self, claimed: list[Claim]) -> None:
        """One or two holders at once: what the one leaves open, the other finds."""
        told = at_once(*[lambda one=one: self.registry.finish(one) for one in claimed])
        for one, said in zip(claimed, told, strict=True):
            job, shard = self.jobs[one.job_id], self.shard(one)
            if shard.status in OPEN and not shard.is_held(one.epoch):
                assert isinstance(said, LeaseLost)
                continue
            assert isinstance(said, bool), said
            if shard.status in OPEN and not any(item.status in OPEN for item in shard.items):
                shard.status = "finished"
            job.end()
        ended = [said for one, said in zip(claimed, told, strict=True) if self.jobs[one.job_id].status not in OPEN]
        assert not ended or any(said is True or isinstance(said, LeaseLost) for said in ended)

    @rule(claimed=claims, is_lost=st.booleans())
    def release(self, claimed: Claim, is_lost: bool) -> None:
        shard = self.shard(claimed)
        is_held = shard.is_held(claimed.epoch)

        def give_back() -> None:
            with self.registry.database.session() as session:
                release(session, ref_of(claimed), claimed.epoch, lost=is_lost)

        self.expect(is_held, give_back)
        if is_held:
            shard.requeue()
            for item in shard.items:
                if item.status == "running" and not is_lost:
                    item.status, item.attempts = "queued", item.attempts - 1

    @rule(claimed=claims)
    def beat(self, claimed: Claim) -> None:
        job, shard = self.jobs[claimed.job_id], self.shard(claimed)
        with self.registry.database.session() as session:
            heard = heartbeat(session, [(claimed.job_id, claimed.number, claimed.epoch)], lease_s=LEASE_S)
        is_held = shard.is_held(claimed.epoch)
        assert bool(heard.lost) is not is_held
        if is_held:
            shard.has_lapsed = False
            assert bool(heard.cancelled) is job.is_cancelling
            assert bool(heard.expired) is (job.is_overdue and not job.is_cancelling)

    # Time

    @rule(claimed=claims)
    def lapse(self, claimed: Claim) -> None:
        shard = self.shard(claimed)
        if shard.status == "running":
            self.registry.lapse(claimed.job_id, claimed.number)
            shard.has_lapsed = True

    @rule(job_id=ids)
    def overdue(self, job_id: str) -> None:
        if self.jobs[job_id].status in OPEN:
            # Made an hour ago: a retry gets as long as the first job had.
            back = "UPDATE jobs SET created_at = now() - interval '1 h' WHERE id = :job_id"
            self.registry.rows(back, job_id=job_id)
            self.registry.overdue(job_id)
            self.jobs[job_id].is_overdue = True

    @rule()
    def sweep(self) -> None:
        self._sweep()
        for job in self.jobs.values():
            for shard in job.shards:
                if shard.status == "running" and shard.has_lapsed:
                    shard.requeue()
        self.stop_jobs()

    @rule(target=claims, claimed=claims)
    def sweep_and_claim(self, claimed: Claim) -> Any:
        """At once: whoever comes first, a shard whose lease is over has one holder afterwards."""
        job, shard = self.jobs[claimed.job_id], self.shard(claimed)
        if not (job.may_be_claimed and shard.status == "running"):
            return multiple()
        self.lapse(claimed)
        got, swept = at_once(lambda: self.registry.claim(claimed.job_id, claimed.number), self._sweep)
        assert swept is None, swept
        for other in [one for job in self.jobs.values() for one in job.shards if one is not shard]:
            if other.status == "running" and other.has_lapsed:
                other.requeue()
        if got is None:  # the sweep had the row in its hands and had not committed
            shard.requeue()
            self.stop_jobs()
            return given(None)
        self.take(shard, got.epoch, shard.epoch + 1, shard.epoch + 2)
        self.stop_jobs()
        return got

    def _sweep(self) -> None:
        sweep(self.registry.database)

    def stop_jobs(self) -> None:
        for job in self.jobs.values():
            if job.status in OPEN and (job.is_cancelling or job.is_overdue):
                job.withdraw("cancelled" if job.is_cancelling else "expired")
            job.end()

    # What must hold

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        rows = {id: [*row] for id, *row in self.registry.rows(ROWS)}
        model = {
            id: [
                job.status,
                None if job.status in OPEN else len(job.items),  # counted when it ends
                int(job.status not in OPEN),  # deliveries
                [[one.status, one.epoch] for one in job.shards],
                [[one.status, one.attempts, one.output] for one in job.items],
            ]
            for id, job in self.jobs.items()
        }

        assert rows == model

    def teardown(self) -> None:
        self.registry.rows("DELETE FROM jobs")


def given(claimed: Claim | None) -> Any:
    """What a rule adds to a bundle."""
    return multiple() if claimed is None else claimed


def test_any_moves_in_any_order_leave_what_the_model_says(registry: Registry) -> None:
    run_state_machine_as_test(
        lambda: Registered(registry),  # type: ignore[arg-type]  # a factory will do, says its documentation
        settings=settings(max_examples=30, stateful_step_count=20, suppress_health_check=list(HealthCheck)),
    )
