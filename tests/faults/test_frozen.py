"""Frozen in the middle of a transaction: its kernel answers for it, and yet it holds up nobody. It never wakes in time.

What it holds would be missed by all: the turn of a lane, a job's row, the sweep's lock, an idempotency key.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.faults import Point
from tests.acceptance.workers.service import TIMES
from tests.faults.conftest import opened, watched
from tests.faults.injuries import QUEUE
from tests.faults.invariants import check
from tests.faults.world import CELERY, World

# What its log says once it has found out that the server has ended its transaction.
FAILED = {"api": "ring failed", "device": "ShardFailed", "control": "sweep failed"}
BEYOND_THE_WINDOW = 20 * 16  # items: more shards than are rung at once


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, server_folder: Path) -> Iterator[World]:
    """A service whose API has two processes."""
    times = {**TIMES, "ECHO_STEP_S": "0.002", "SKIM_ROWS": "8", "SKIM_API_WORKERS": "2"}
    with opened(server_folder / "f", tmp_path_factory, times) as world:
        yield world


@pytest.fixture
def world(pairs: World) -> Iterator[World]:
    with watched(pairs) as watched_world:
        yield watched_world


def freeze(world: World, name: str, order: Path) -> int:
    """Wait until a process of the part has stopped as it was ordered to; its id."""
    world.until(lambda: not order.exists())
    [taken] = world.orders(name).glob(f"{order.name}.*")
    return int(taken.name.rpartition(".")[2])


def thaw(world: World, name: str, pid: int) -> None:
    """Let it go on, until it has found out."""
    log = world.parts[name].log
    before = log.read_text().count(FAILED[name])
    os.kill(pid, signal.SIGCONT)
    world.until(lambda: log.read_text().count(FAILED[name]) > before)


def test_whoever_rings_leaves_the_lane_to_others(world: World) -> None:
    order = world.order("api", Point.RING_WRITTEN, "SIGSTOP")
    jobs = [world.submit(BEYOND_THE_WINDOW)]
    pid = freeze(world, "api", order)
    jobs.append(world.submit(4))

    check(world, jobs)

    thaw(world, "api", pid)
    check(world, jobs)


def test_whoever_submits_leaves_the_clients_key_to_its_next_try(world: World) -> None:
    order = world.order("api", Point.SUBMIT_WRITTEN, "SIGSTOP")
    job = world.submit(4)
    pid = freeze(world, "api", order)

    check(world, [job])

    os.kill(pid, signal.SIGCONT)
    world.until(world.is_whole)
    check(world, [job, world.submit(4)])


def test_whoever_claims_leaves_the_shard_to_another_device(world: World) -> None:
    order = world.order("device", Point.CLAIM_WRITTEN, "SIGSTOP")
    job = world.submit(4)
    pid = freeze(world, "device", order)
    world.add_device("device-2")

    check(world, [job])

    thaw(world, "device", pid)
    check(world, [job, world.submit(4)])
    world.remove("device-2")


def test_whoever_sweeps_leaves_it_to_another_control_node(world: World) -> None:
    """Nobody else finds what died with the node of a device."""
    order = world.order("control", Point.SWEEP_REQUEUED, "SIGSTOP")
    job = world.submit(BEYOND_THE_WINDOW)
    world.until(lambda: world.rows("SELECT 1 FROM items WHERE status = 'running'"))
    world.parts["device"].children(QUEUE.name)[0].kill()
    pid = freeze(world, "control", order)
    tasks = ("--include", "workers.control,workers.webhooks")
    world.add(
        "control-2", "celery", *CELERY, "worker", "-Q", "control,webhooks", "--pool", "threads", "-c", "4", *tasks
    )

    check(world, [job])

    thaw(world, "control", pid)
    check(world, [job, world.submit(4)])
    world.remove("control-2")
