"""Seeded faults, one at a time and in random order, under a steady stream of jobs."""

from random import Random

import pytest

from tests.faults.clock import Clock
from tests.faults.injuries import INJURIES
from tests.faults.invariants import check
from tests.faults.jobs import SORTS
from tests.faults.world import World

# What takes longer than a few seconds to recover from is for the long tests.
QUICK = ("lose redis", "cut transaction", "kill backend", "forge messages", "fill disk")
NUM_ITEMS = 16
HOUR_S = 3600.0


def injure(world: World, name: str, random: Random) -> None:
    """With work in flight, and more to come."""
    world.submit_any(NUM_ITEMS, random)
    world.submit(NUM_ITEMS)
    while not is_at_work(world):  # all was done before the answer to the submission came
        world.submit(NUM_ITEMS)
    INJURIES[name](world, random)


def is_at_work(world: World) -> bool:
    """Whether an item runs now, waiting for one as long as any is open."""
    found: list[bool] = []

    def is_clear() -> bool:
        found[:] = [bool(world.rows("SELECT 1 FROM items WHERE status = 'running'"))]
        return found[0] or not world.num_open()

    world.until(is_clear)
    return found[0]


def test_nothing_is_lost_in_a_short_run_of_faults(world: World) -> None:
    random = Random(7)
    before = len(world.accepted)

    for name in random.sample(QUICK, len(QUICK)):
        injure(world, name, random)
        world.pause(random.uniform(0, 0.5))
    world.settle()

    check(world, world.accepted[before:])


def test_every_sort_of_job_ends_as_it_may(world: World) -> None:
    random = Random(33)

    jobs = [world.submit_as(sort, NUM_ITEMS, random) for sort in SORTS]
    kill_engine_at_work(world)
    world.settle()

    check(world, jobs)
    ids = [job.job_id for job in jobs]
    ended = world.rows("SELECT DISTINCT status FROM items WHERE job_id = ANY(:ids)", ids=ids)
    assert {row.status for row in ended} == {"succeeded", "cancelled", "expired"}


def test_what_was_lost_says_the_same_when_tried_again(world: World) -> None:
    """Although its items have other numbers there, and choices of their own, and are tried twice."""
    job = world.submit(4 * NUM_ITEMS, may_end="cancelled", **SORTS["choices"])
    world.until(lambda: world.rows("SELECT 1 FROM items WHERE job_id = :job AND status = 'succeeded'", job=job.job_id))
    world.cancel(job)
    check(world, [job])

    again = world.retry(job)
    kill_engine_at_work(world)

    check(world, [again])
    assert len(again.texts) < len(job.texts)
    assert world.rows("SELECT 1 FROM shards WHERE job_id = :job AND epoch > 1", job=again.job_id)


def kill_engine_at_work(world: World) -> None:
    """While it has items of somebody's."""
    assert is_at_work(world)
    world.parts["device"].children("echo_engine")[0].kill()


@pytest.mark.skipif(not Clock.compiler, reason="the clock is set by a library that is compiled here")
@pytest.mark.parametrize("shift_s", [-HOUR_S, HOUR_S])
def test_a_clock_that_is_set_stops_nobody(world: World, shift_s: float) -> None:
    """Jobs that were accepted while the broker was away are found by the sweep alone."""
    before = len(world.accepted)
    world.clock.set(shift_s)

    INJURIES["submit without broker"](world, Random(1))
    check(world, world.accepted[before:])
    world.clock.set(0)
    INJURIES["submit without broker"](world, Random(2))

    check(world, world.accepted[before:])


@pytest.mark.soak
@pytest.mark.parametrize("name", INJURIES)
def test_nothing_is_lost_by(world: World, name: str) -> None:
    before = len(world.accepted)
    random = Random(name)

    for _ in range(2):
        injure(world, name, random)
        world.pause(1)
    world.settle()
    world.until(world.is_whole)

    check(world, world.accepted[before:])
