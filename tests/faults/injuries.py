"""What may happen to a service. Each injury happens once; what has to be undone, the world undoes later."""

import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from random import Random
from typing import Any, Final

import psutil

from models.faults import Point
from models.states import Lane
from tests.acceptance.workers.service import MODEL
from tests.faults.clock import Clock
from tests.faults.parts import Part
from tests.faults.world import World
from workers.queues import SHARD_TASK, SWEEP_TASK, queue_of

QUEUE = queue_of(MODEL, Lane.BULK)
INTERACTIVE = queue_of(MODEL, Lane.INTERACTIVE)
LATE_S = 2.0  # beyond a lease
AWAY_S = 2.0  # how long a server stays away at most
FROZEN_S = 4.0
FEW = 4  # items
MINUTE_S = 60.0
DAY_S = 86_400.0

ORDER_S = 20.0  # for somebody to come by a fault point: a lease has to run out before some of them

# Says when it happened where that was well before it returned.
Injury = Callable[[World, Random], float | None]


class Missed(Exception):
    """Nobody came to harm."""


def _send(name: str, number: signal.Signals) -> Injury:
    return lambda world, _: _running(world, name).send(number)


def _kill_child(name: str, word: str) -> Injury:
    return lambda world, _: _child(world, name, word).kill()


def _freeze(name: str) -> Injury:
    """Until long after every lease it may hold is over."""

    def freeze(world: World, _: Random) -> None:
        part = _running(world, name)
        part.send(signal.SIGSTOP)
        world.later(world.lease_s + LATE_S, part.thaw)

    return freeze


def _freeze_all(name: str) -> Injury:
    """Its children too, as if the machine had stood still."""

    def freeze(world: World, random: Random) -> None:
        _freeze(name)(world, random)
        for child in world.parts[name].children():
            with suppress(psutil.Error):
                child.suspend()

    return freeze


def _freeze_child(name: str, word: str) -> Injury:
    def freeze(world: World, _: Random) -> None:
        child = _child(world, name, word)
        child.suspend()
        world.later(world.lease_s + LATE_S, lambda: _resume(child))

    return freeze


def _with_interactive(injury: Injury) -> Injury:
    """The node of this lane has something to do."""

    def injure(world: World, random: Random) -> float | None:
        world.submit(random.randint(1, 5), priority="interactive")
        return injury(world, random)

    return injure


def _running(world: World, name: str) -> Part:
    """A part, once it runs."""
    world.until(lambda: world.parts[name].is_running)
    return world.parts[name]


def _child(world: World, name: str, word: str) -> psutil.Process:
    """A process of a part; waits for it where it is just being started."""
    world.until(lambda: world.parts[name].children(word))
    return world.parts[name].children(word)[0]


def _resume(process: psutil.Process) -> None:
    if process.is_running():
        process.resume()


def _lose_redis(world: World, random: Random) -> None:
    """Killed, away for a while, back with nothing."""
    part = world.parts["redis"]
    part.is_wanted = False
    part.send(signal.SIGKILL)
    world.later(random.uniform(0, AWAY_S), lambda: setattr(part, "is_wanted", True))


def _flush_redis(world: World, _: Random) -> None:
    world.until(lambda: world.client_redis().flushall())


def _freeze_redis(world: World, _: Random) -> None:
    part = world.parts["redis"]
    part.send(signal.SIGSTOP)
    world.later(FROZEN_S, part.thaw)


def _submit_without_broker(world: World, random: Random) -> float:
    """It is away from before the request until after the answer."""
    part = world.parts["redis"]
    part.is_wanted = False
    part.send(signal.SIGKILL)
    killed_at = time.time()
    world.submit(random.randint(1, 5))
    part.is_wanted = True
    return killed_at


BACKENDS: Final = """
SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'test' ORDER BY pid
"""


def _kill_backend(world: World, random: Random) -> None:
    """The server takes all its processes down with one that was killed, and recovers."""

    def is_killed() -> bool:
        pids = [row.pid for row in world.rows(BACKENDS)]
        if pids:
            os.kill(random.choice(pids), signal.SIGKILL)
        return bool(pids)

    world.until(is_killed)


CUT: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database() AND application_name <> 'test'
"""


def _cut_connections(world: World, _: Random) -> None:
    world.until(lambda: world.rows(CUT))


def _cut_transaction(world: World, _: Random) -> None:
    """The first connection seen between two statements of a transaction."""
    world.until(lambda: world.rows(f"{CUT} AND state = 'idle in transaction' LIMIT 1"))


def _fill_disk(world: World, random: Random) -> float:
    """No row of a table can be written or changed, as if the disk were full, and somebody submits a job meanwhile."""
    table, name = random.choice(("jobs", "shards", "items", "deliveries")), "disk_full"
    world.until(
        lambda: _did(
            world,
            f"""
        CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$
    """,
        )
    )
    make = f"CREATE OR REPLACE TRIGGER {name} BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION {name}()"
    world.until(lambda: _did(world, make))
    filled_at = time.time()
    world.later(AWAY_S, lambda: world.until(lambda: _did(world, f"DROP TRIGGER IF EXISTS {name} ON {table}")))
    world.submit(random.randint(1, 5))
    return filled_at


def _did(world: World, statement: str) -> bool:
    world.rows("SET LOCAL lock_timeout = '1s'")
    world.rows(statement)
    return True


def _with_broker(injury: Injury) -> Injury:
    """It needs the servers, which an earlier injury may have taken away."""

    def injure(world: World, random: Random) -> None:
        world.until(lambda: world.client_redis().ping() and world.rows("SELECT 1"))
        injury(world, random)

    return injure


def _double_messages(world: World, _: Random) -> None:
    """A second message for every shard that is not over, held ones included."""
    _send_all(world, world.rows("SELECT job_id, number FROM shards WHERE status IN ('queued', 'running')"))


def _stale_messages(world: World, _: Random) -> None:
    """Messages for shards that were finished long ago."""
    query = "SELECT job_id, number FROM shards WHERE status = 'finished' LIMIT 50"
    world.until(lambda: world.rows(query))
    _send_all(world, world.read(query))


def _send_all(world: World, shards: Any) -> None:
    with world.app.connection_for_write() as connection, connection.Producer() as producer:
        for shard in shards:
            arguments = shard.job_id, shard.number
            world.app.send_task(SHARD_TASK, args=arguments, queue=QUEUE, producer=producer)


def _turn_messages(world: World, _: Random) -> None:
    """Those that wait, at least two, come last first."""
    broker = world.client_redis()
    while not world.holds(lambda: broker.llen(QUEUE.name) > 1):
        world.submit(FEW)
    waiting: Any = broker.lrange(QUEUE.name, 0, -1)
    with broker.pipeline() as pipe:
        pipe.delete(QUEUE.name)
        if waiting:
            pipe.rpush(QUEUE.name, *reversed(waiting))
        pipe.execute()


FORGED: Final = (
    b"",
    b"nonsense",
    b"{}",
    b"[1, 2]",
    b'{"body": 7}',
    b'{"body": "!", "headers": {}, "properties": {}}',
    b"\xff\xfe\x00",
)


def _forge_messages(world: World, _: Random) -> None:
    """Well-formed messages that mean nothing, and bytes that are no message."""
    with world.app.connection_for_write() as connection, connection.Producer() as producer:
        for arguments in ([], ["job_0", 1], ["x" * 10_000, -1], [None, None], [7, "seven"], [{"a": []}, 2**80]):
            world.app.send_task(SHARD_TASK, args=arguments, queue=QUEUE, producer=producer)
        world.app.send_task("no.such.task", args=[], queue=QUEUE, producer=producer)
        world.app.send_task(SWEEP_TASK, args=[], queue=QUEUE, producer=producer)
    real = {"content-type": "application/x-python-serialize", "content-encoding": "binary", "body": "gASVAAAAAAA="}
    properties = {"delivery_tag": "x", "delivery_info": {}, "body_encoding": "base64"}
    pickled = json.dumps({**real, "headers": {"task": SHARD_TASK, "id": "x"}, "properties": properties}).encode()
    for queue in (QUEUE.name, "control", "webhooks"):
        world.client_redis().lpush(queue, *FORGED, pickled)


def _set_clock(world: World, random: Random) -> None:
    """Everywhere but on the servers: to the past or the future, and back to the truth a while later."""
    world.clock.set(random.choice((-1, 1)) * random.uniform(MINUTE_S, DAY_S))
    world.later(world.lease_s + LATE_S, lambda: world.clock.set(0))


def _second_beat(world: World, _: Random) -> None:
    if "beat-2" not in world.parts:
        world.add_beat("beat-2")
        world.later(3 * AWAY_S, lambda: world.remove("beat-2"))


def _end_at_a_point(world: World, random: Random) -> None:
    """Whoever comes first to a place chosen at random. Raises Missed when nobody does."""
    name, points = random.choice(sorted(PLACES.items()))
    point = random.choice(points)
    order = world.order(name, point, "SIGKILL")
    world.submit(2)
    lead_to(world, point)
    try:
        world.until(lambda: not order.exists(), ORDER_S)
    except AssertionError:
        with suppress(FileNotFoundError):  # taken at the last moment
            order.unlink()
            raise Missed(point) from None


def lead_to(world: World, *points: Point) -> None:
    """Have a shard given back, or taken back, where one of the points is on that way. Work alone comes by the others.

    There has to be some.
    """
    stages = {point.partition(".")[0] for point in points}
    if stages & {"release", "sweep"}:
        world.until(lambda: world.rows("SELECT 1 FROM items WHERE status = 'running'"))
        _child(world, "device", "echo_engine" if "release" in stages else QUEUE.name).kill()


PLACES: Final[Mapping[str, tuple[Point, ...]]] = {
    "api": tuple(point for point in Point if point.startswith(("submit.", "ring."))),
    "control": tuple(point for point in Point if point.startswith(("sweep.", "deliver."))),
    "device": tuple(point for point in Point if point.startswith(("claim.", "record.", "finish.", "release."))),
}

INJURIES: Final[Mapping[str, Injury]] = {
    "kill supervisor": _send("device", signal.SIGKILL),
    "kill engine": _kill_child("device", "echo_engine"),
    "kill node": _kill_child("device", QUEUE.name),
    "kill interactive node": _with_interactive(_kill_child("device", INTERACTIVE.name)),
    "kill api": _send("api", signal.SIGKILL),
    "kill api process": _kill_child("api", "api.wsgi"),
    "kill control": _send("control", signal.SIGKILL),
    "kill beat": _send("beat", signal.SIGKILL),
    "end at a fault point": _end_at_a_point,
    "freeze supervisor": _freeze("device"),
    "freeze engine": _freeze_child("device", "echo_engine"),
    "freeze node": _freeze_child("device", QUEUE.name),
    "freeze interactive node": _with_interactive(_freeze_child("device", INTERACTIVE.name)),
    "freeze device": _freeze_all("device"),
    "freeze api": _freeze_all("api"),
    "freeze api process": _freeze_child("api", "api.wsgi"),
    "freeze control": _freeze("control"),
    "freeze beat": _freeze("beat"),
    "lose redis": _lose_redis,
    "flush redis": _flush_redis,
    "freeze redis": _freeze_redis,
    "submit without broker": _submit_without_broker,
    "restart postgres": _send("postgres", signal.SIGINT),
    "kill postgres": _send("postgres", signal.SIGKILL),
    "kill backend": _kill_backend,
    "cut connections": _cut_connections,
    "cut transaction": _cut_transaction,
    "fill disk": _fill_disk,
    "double messages": _with_broker(_double_messages),
    "stale messages": _with_broker(_stale_messages),
    "shuffle messages": _with_broker(_turn_messages),
    "forge messages": _with_broker(_forge_messages),
    "second beat": _second_beat,
    **({"set the clock": _set_clock} if Clock.compiler else {}),
}
