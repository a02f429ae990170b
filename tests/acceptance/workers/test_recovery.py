"""Whatever dies, every item of an accepted job ends once, with its own text."""

from collections.abc import Callable

import pytest

from models.states import Lane
from tests.acceptance.workers.service import MODEL, Service, echo, until
from workers.queues import SHARD_TASK, queue_of

NUM_ITEMS = 100
NUM_TOKENS = 15
PROMPTS = [f"item {number} " for number in range(NUM_ITEMS)]


def check_all(service: Service, job_id: str) -> None:
    """The job succeeded, and every item has its own text."""
    assert service.wait(job_id) == "succeeded"
    items = service.items(job_id)
    assert [item.output for item in items] == [echo(prompt, NUM_TOKENS) for prompt in PROMPTS]
    assert {item.status for item in items} == {"succeeded"}


def kill_tree(service: Service) -> None:
    service.device.kill()
    service.start_device()


def kill_engine(service: Service) -> None:
    service.device.find("echo_engine").kill()


def freeze_engine(service: Service) -> None:
    """In the middle of a round: it lives, holds its socket, and says nothing more."""
    service.device.find("echo_engine").suspend()


def kill_node(service: Service) -> None:
    service.device.find("generate.echo.bulk").kill()


@pytest.mark.parametrize("kill", [kill_tree, kill_engine, freeze_engine, kill_node])
def test_every_item_ends_once_after_a_kill(shared: Service, kill: Callable[[Service], None]) -> None:
    job_id = shared.submit(PROMPTS, max_tokens=NUM_TOKENS)
    until(lambda: shared.num_done(job_id) >= 10)
    assert shared.num_done(job_id) < NUM_ITEMS

    kill(shared)

    check_all(shared, job_id)


def test_doubled_messages_and_an_emptied_broker_change_nothing(shared: Service) -> None:
    job_id = shared.submit(PROMPTS, max_tokens=NUM_TOKENS)

    def publish_all() -> None:
        for number in range(NUM_ITEMS // 16 + 1):
            shared.app.send_task(SHARD_TASK, args=(job_id, number), queue=queue_of(MODEL, Lane.BULK))

    publish_all()
    publish_all()
    until(lambda: shared.num_done(job_id) >= 10)
    publish_all()
    shared.flush_broker()

    check_all(shared, job_id)
    assert {item.attempts for item in shared.items(job_id)} == {1}


def test_a_poison_item_fails_alone(shared: Service) -> None:
    prompts = [*PROMPTS[:10], "POISON", *PROMPTS[10:20]]

    job_id = shared.submit(prompts, max_tokens=NUM_TOKENS)

    assert shared.wait(job_id) == "succeeded"
    items = shared.items(job_id)
    poison = items.pop(10)
    assert (poison.status, poison.attempts, poison.error["code"]) == ("failed", 3, "worker_lost")
    assert [item.output for item in items] == [echo(prompt, NUM_TOKENS) for prompt in PROMPTS[:20]]


def test_an_engine_that_hangs_is_killed_and_its_items_go_on(shared: Service) -> None:
    engine = shared.device.find("echo_engine")

    job_id = shared.submit(["HANG", *PROMPTS[:4]], max_tokens=NUM_TOKENS)
    until(lambda: not engine.is_running())

    assert shared.wait(job_id) == "succeeded"
    hung, *others = shared.items(job_id)
    assert (hung.status, hung.attempts, hung.error["code"]) == ("failed", 3, "worker_lost")
    assert [item.status for item in others] == ["succeeded"] * 4
