"""Many random faults with the times that everybody gets, and how long each of them was felt.

    pytest -m soak -s tests/faults/test_soak.py

prints the figures. A recovery is the time from a fault to the next item that succeeds.
"""

import time
from collections import defaultdict
from random import Random
from statistics import median, quantiles

import pytest

from tests.faults.injuries import INJURIES, Missed
from tests.faults.invariants import check
from tests.faults.world import World

NUM_FAULTS = 50  # of each of the seeds
NUM_ITEMS = 250  # at least
JOB_ITEMS = 5
NUM_WAITING = 10
P95_S = 15.0  # of the recoveries, at most


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_nothing_is_lost_in_a_long_run_of_faults(slow_world: World, seed: int) -> None:
    random = Random(seed)
    before = len(slow_world.accepted)
    felt: dict[str, list[float]] = defaultdict(list)

    for _ in range(NUM_FAULTS):
        name, struck_at = strike(slow_world, random)
        felt[name].append(recovery_s(slow_world, struck_at))
        slow_world.pause(random.uniform(0.2, 2))
    slow_world.settle()
    while num_items(slow_world, before) < NUM_ITEMS:
        slow_world.submit(JOB_ITEMS)
    check(slow_world, slow_world.accepted[before:], patience_s=300)

    every = sorted(value for values in felt.values() for value in values)
    p95 = quantiles(every, n=20)[-1]
    report(seed, num_items(slow_world, before), felt, f"median {median(every):.1f} s, p95 {p95:.1f} s")
    assert p95 < P95_S


def strike(world: World, random: Random) -> tuple[str, float]:
    """Do some harm; returns what, and the time of day when it happened."""
    while True:
        feed(world)
        world.submit_any(JOB_ITEMS, random)
        name = random.choice(sorted(INJURIES))
        try:
            return name, INJURIES[name](world, random) or time.time()
        except Missed as missed:
            print(f"\nnobody came by {missed}: not counted")


def feed(world: World) -> None:
    """Have something to do that a fault may disturb."""

    def has_enough() -> bool:
        return world.num_open() >= NUM_WAITING

    while not world.holds(has_enough):
        world.submit(JOB_ITEMS)


def num_items(world: World, before: int) -> int:
    return sum(len(job.texts) for job in world.accepted[before:])


def recovery_s(world: World, fault_at: float) -> float:
    """Seconds from the fault to the end of the next item that succeeds. Both clocks are this machine's."""
    query = """
        SELECT min(finished_at) AS at FROM items WHERE status = 'succeeded' AND finished_at > to_timestamp(:fault_at)
    """
    found: list[float] = []

    def has_ended() -> bool:
        at = world.rows(query, fault_at=fault_at)[0].at
        found[:] = [] if at is None else [at.timestamp() - fault_at]
        if not found and not world.num_open():
            world.submit(1)  # all was done before the fault
        return bool(found)

    world.until(has_ended, patience_s=300)
    return found[0]


def report(seed: int, num: int, felt: dict[str, list[float]], summary: str) -> None:
    print(f"\nseed {seed}: {NUM_FAULTS} faults, {num} items, 0 lost, 0 doubled; recovery {summary}")
    for name, values in sorted(felt.items(), key=lambda entry: -max(entry[1])):
        print(f"  {name:24} {len(values):3} {'  '.join(f'{value:.1f}' for value in sorted(values))}")
