"""Being told to stop: cancelled jobs, expired jobs, SIGTERM, and a supervisor that is gone."""

import time

import psutil

from models.cancel import cancel
from tests.acceptance.workers.service import TENANT, Service, echo, until

FOREVER = 4000  # tokens: 40 s of the echo engine


def test_a_cancelled_job_ends_within_a_second(service: Service) -> None:
    service.start_control()
    service.start_device()
    job_id = service.submit(["a", "b", "c"], max_tokens=FOREVER)
    short = service.submit(["quick "], max_tokens=5)
    until(lambda: service.num_running(job_id) == 3)
    assert service.wait(short) == "succeeded"

    with service.database.session() as session:
        cancel(session, TENANT, job_id)
    took_s = until(lambda: service.status(job_id) == "cancelled")

    assert took_s < 1.0
    assert {item.status for item in service.items(job_id)} == {"cancelled"}


def test_finished_items_of_a_cancelled_job_are_kept(service: Service) -> None:
    service.start_control()
    service.start_device("--rows", "1")
    job_id = service.submit([f"item {number} " for number in range(40)], max_tokens=10)
    until(lambda: service.num_done(job_id) >= 5)

    with service.database.session() as session:
        cancel(session, TENANT, job_id)

    assert service.wait(job_id) == "cancelled"
    items = service.items(job_id)
    kept = [item for item in items if item.status == "succeeded"]
    assert 5 <= len(kept) < 40
    assert all(item.output == echo(f"item {item.index} ", 10) for item in kept)
    assert {item.status for item in items} == {"succeeded", "cancelled"}


def test_a_job_past_its_deadline_expires(service: Service) -> None:
    service.start_control()
    service.start_device()
    until(service.is_ready)

    job_id = service.submit(["a"], max_tokens=FOREVER, deadline_s=1.5)

    assert service.wait(job_id, patience_s=10) == "expired"
    assert service.items(job_id)[0].status == "expired"


def test_sigterm_finishes_what_it_can_and_releases_the_rest(service: Service) -> None:
    service.start_control()
    device = service.start_device(ECHO_STEP_S="0.02")
    job_id = service.submit(["long ", "short "], max_tokens=2000, shard_items=1)
    until(lambda: service.num_running(job_id) == 2)
    tree = device.tree

    device.process.terminate()

    assert device.process.wait(10) == 0
    assert not any(one.is_running() for one in tree)
    items = service.items(job_id)
    assert {(item.status, item.attempts) for item in items} == {("queued", 0)}
    service.start_device(ECHO_STEP_S="0.0001")
    assert service.wait(job_id) == "succeeded"
    assert {item.attempts for item in service.items(job_id)} == {1}


def test_sigterm_lets_admitted_items_end_within_the_grace_period(service: Service) -> None:
    service.start_control()
    device = service.start_device("--rows", "2")
    job_id = service.submit(["first ", "second ", "third "], max_tokens=100)
    until(lambda: service.num_running(job_id) == 2)

    device.process.terminate()

    assert device.process.wait(10) == 0
    assert [item.status for item in service.items(job_id)].count("succeeded") == 2
    assert [item.status for item in service.items(job_id)].count("queued") == 1


def test_a_killed_supervisor_leaves_no_orphan(service: Service) -> None:
    device = service.start_device()
    until(service.is_ready)
    until(lambda: len(device.tree) == 4)
    supervisor, *children = device.tree

    supervisor.kill()
    device.process.wait(10)

    _, alive = psutil.wait_procs(children, timeout=3)
    assert alive == []


def test_a_stopped_worker_says_so_at_once(service: Service) -> None:
    device = service.start_device()
    until(service.is_ready)

    device.process.terminate()
    began = time.monotonic()

    until(lambda: service.rows("SELECT 1 FROM workers WHERE status = 'stopping'"), patience_s=3)
    assert device.process.wait(10) == 0
    assert time.monotonic() - began < 6
