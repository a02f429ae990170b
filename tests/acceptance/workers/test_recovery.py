"""Whatever dies, every item of an accepted job ends once, with its own text."""

from collections.abc import Callable, Sequence

import pytest
import redis

from models.states import Lane
from tests.acceptance.workers.service import MODEL, Device, Service, echo, until
from workers.queues import SHARD_TASK, queue_of

NUM_ITEMS = 100
NUM_TOKENS = 15
PROMPTS = [f"item {number} " for number in range(NUM_ITEMS)]


def check_all(service: Service, job_id: str, prompts: Sequence[str] = PROMPTS, num_tokens: int = NUM_TOKENS) -> None:
    """The job succeeded, and every item has its own text."""
    assert service.wait(job_id) == "succeeded"
    items = service.items(job_id)
    assert [item.output for item in items] == [echo(prompt, num_tokens) for prompt in prompts]
    assert {item.status for item in items} == {"succeeded"}


def kill_tree(service: Service, device: Device) -> None:
    device.kill()
    service.start_device()


def kill_engine(service: Service, device: Device) -> None:
    device.find("echo_engine").kill()


def kill_node(service: Service, device: Device) -> None:
    device.find("generate.echo.bulk").kill()


@pytest.mark.parametrize("kill", [kill_tree, kill_engine, kill_node])
def test_every_item_ends_once_after_a_kill(service: Service, kill: Callable[[Service, Device], None]) -> None:
    service.start_control()
    device = service.start_device()
    job_id = service.submit(PROMPTS, max_tokens=NUM_TOKENS)
    until(lambda: service.num_done(job_id) >= 20)
    assert service.num_done(job_id) < NUM_ITEMS

    kill(service, device)

    check_all(service, job_id)


def test_doubled_messages_and_an_emptied_broker_change_nothing(service: Service, redis_url: str) -> None:
    service.start_control()
    service.start_device()
    job_id = service.submit(PROMPTS, max_tokens=NUM_TOKENS)

    def publish_all() -> None:
        for number in range(NUM_ITEMS // 16 + 1):
            service.app.send_task(SHARD_TASK, args=(job_id, number), queue=queue_of(MODEL, Lane.BULK))

    publish_all()
    publish_all()
    until(lambda: service.num_done(job_id) >= 10)
    publish_all()
    redis.Redis.from_url(redis_url.replace("redis+socket://", "unix://")).flushall()

    check_all(service, job_id)
    assert {item.attempts for item in service.items(job_id)} == {1}


def test_a_poison_item_fails_alone(service: Service) -> None:
    service.start_control()
    service.start_device()
    prompts = [*PROMPTS[:10], "POISON", *PROMPTS[10:20]]

    job_id = service.submit(prompts, max_tokens=NUM_TOKENS)

    assert service.wait(job_id) == "succeeded"
    items = service.items(job_id)
    poison = items.pop(10)
    assert (poison.status, poison.attempts, poison.error["code"]) == ("failed", 3, "worker_lost")
    assert [item.output for item in items] == [echo(prompt, NUM_TOKENS) for prompt in PROMPTS[:20]]


def test_an_engine_that_hangs_is_killed_and_its_items_go_on(service: Service) -> None:
    service.start_control()
    service.start_device(SKIM_STALL_S="1.5")

    job_id = service.submit(["HANG", *PROMPTS[:4]], max_tokens=NUM_TOKENS)

    assert service.wait(job_id) == "succeeded"
    assert [item.status for item in service.items(job_id)] == ["failed"] + ["succeeded"] * 4


def test_shards_of_one_job_ending_together_end_the_job(service: Service) -> None:
    # No control node: no sweep repairs what two finishes might miss.
    service.start_device()
    service.start_device()
    until(lambda: len(service.rows("SELECT 1 FROM workers WHERE status = 'ready'")) == 2)

    jobs = [service.submit(PROMPTS[:2], max_tokens=3, shard_items=1) for _ in range(25)]

    for job_id in jobs:
        check_all(service, job_id, PROMPTS[:2], 3)
