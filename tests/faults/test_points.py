"""Between any two steps of submit, publish, claim, record, finish and deliver: killed there, and nothing is lost."""

import os
import signal

import pytest

from models.faults import Point
from tests.faults.injuries import PLACES, QUEUE, lead_to
from tests.faults.invariants import check
from tests.faults.world import Accepted, World

FENCED = "lease lost; nothing written"
ENDLESS = 400  # tokens: long enough to be interrupted

# One kill in each part at a time. The long test does every one of them, one by one.
QUICK = (
    {"api": Point.SUBMIT_WRITTEN, "device": Point.RECORD_COMMITTED, "control": Point.DELIVER_SENT},
    {"api": Point.RING_COMMITTED, "device": Point.FINISH_COMMITTED},
)


def test_every_point_belongs_to_a_part() -> None:
    assert sorted(point for points in PLACES.values() for point in points) == sorted(Point)


def test_every_point_is_reached(world: World) -> None:
    for name, points in PLACES.items():
        for point in points:
            world.order(name, point)

    interrupted = world.submit(10, parameters={"max_tokens": ENDLESS, "seed": 1}, webhook_url=None)
    interrupt(world, interrupted.job_id, "echo_engine", "release")
    interrupt(world, interrupted.job_id, QUEUE.name, "sweep")
    world.send("POST", f"/v1/jobs/{interrupted.job_id}/cancel")
    job = world.submit(20)

    check(world, [job])
    assert still_ordered(world) == []


def interrupt(world: World, job_id: str, word: str, stage: str) -> None:
    """Kill one of the device's processes under the running items of a shard; wait until it was noticed."""
    held = """
        SELECT 1 FROM shards JOIN items USING (job_id)
        WHERE job_id = :job AND shards.status = 'running' AND items.status = 'running'
    """
    world.until(lambda: world.rows(held, job=job_id))
    world.parts["device"].children(word)[0].kill()
    world.until(lambda: not still_ordered(world, stage))


def still_ordered(world: World, stage: str = "") -> list[str]:
    """Points of a stage that nobody has come to."""
    points = [(name, point) for name in PLACES for point in PLACES[name] if point.startswith(stage)]
    return [point for name, point in points if (world.orders(name) / point).exists()]


def test_kills_between_two_steps_lose_nothing(world: World) -> None:
    jobs = [job for kills in QUICK for job in end_at(world, kills)]

    check(world, jobs)


@pytest.mark.soak
@pytest.mark.parametrize(("name", "point"), [(name, point) for name in PLACES for point in PLACES[name]])
def test_a_kill_at_any_point_loses_nothing(world: World, name: str, point: Point) -> None:
    check(world, end_at(world, {name: point}))


def end_at(world: World, kills: dict[str, Point]) -> list[Accepted]:
    """Have a part killed at each of these points; returns the jobs that were under way."""
    waiting = [world.order(name, point, "SIGKILL") for name, point in kills.items()]
    jobs = [world.submit(6) for _ in range(2)]
    lead_to(world, *kills.values())
    world.until(lambda: not any(order.exists() for order in waiting))
    return jobs


def test_what_a_zombie_had_to_say_is_fenced(world: World) -> None:
    """Stopped with a result in its hand, it wakes when its shard is no longer its own."""
    job, pid = stop_with_a_result(world)
    world.until(lambda: world.rows("SELECT 1 FROM shards WHERE job_id = :job AND epoch > 1", job=job.job_id))

    wake(world, pid)

    check(world, [job])


@pytest.mark.soak
def test_a_zombie_does_not_touch_what_another_has_done(world: World) -> None:
    job, pid = stop_with_a_result(world)
    world.add_device("device-2")
    check(world, [job])

    wake(world, pid)
    world.remove("device-2")

    check(world, [job])


def stop_with_a_result(world: World) -> tuple[Accepted, int]:
    """A job, and the process that is stopped just before it writes how some of its items ended."""
    order = world.order("device", Point.RECORD_READY, "SIGSTOP")
    job = world.submit(4)
    world.until(lambda: not order.exists())
    [taken] = order.parent.glob(f"{order.name}.*")
    return job, int(taken.name.rpartition(".")[2])


def wake(world: World, pid: int) -> None:
    """Let it go on, until it has tried to write."""
    log = world.parts["device"].log
    before = log.read_text().count(FENCED)
    os.kill(pid, signal.SIGCONT)
    world.until(lambda: log.read_text().count(FENCED) > before)
