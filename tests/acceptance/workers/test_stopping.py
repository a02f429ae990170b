"""Workers that stop, in good order or not, and workers that end a job together."""

import psutil

from tests.acceptance.workers.service import Service, echo, until


def test_sigterm_finishes_what_it_can_and_releases_the_rest(service: Service) -> None:
    service.start_control()
    device = service.start_device("--rows", "3")
    job_id = service.submit(["one ", "two ", "three ", "four "], max_tokens=60, shard_items=2)
    until(lambda: service.num_running(job_id) == 3)
    endless = service.submit(["endless "], max_tokens=4000)
    tree = device.tree

    device.process.terminate()

    until(lambda: service.rows("SELECT 1 FROM workers WHERE status = 'stopping'"), patience_s=3)
    assert device.process.wait(10) == 0
    assert not any(one.is_running() for one in tree)
    assert sorted(item.status for item in service.items(job_id)) == ["queued"] + ["succeeded"] * 3
    assert [(item.status, item.attempts) for item in service.items(endless)] == [("queued", 0)]
    assert service.rows("SELECT 1 FROM shards WHERE status = 'running'") == []
    service.start_device()
    assert service.wait(job_id) == "succeeded"
    assert {item.attempts for item in service.items(job_id)} == {1}


def test_sigterm_releases_what_would_outlast_the_grace_period(service: Service) -> None:
    device = service.start_device()
    job_id = service.submit(["endless ", "finite "], max_tokens=4000, shard_items=1)
    until(lambda: service.num_running(job_id) == 2)

    device.process.terminate()

    assert device.process.wait(10) == 0
    assert {(item.status, item.attempts) for item in service.items(job_id)} == {("queued", 0)}


def test_a_killed_supervisor_leaves_no_orphan(service: Service) -> None:
    device = service.start_device()
    until(lambda: len(device.tree) == 4)
    supervisor, *children = device.tree

    supervisor.kill()
    device.process.wait(10)

    _, alive = psutil.wait_procs(children, timeout=3)
    assert alive == []


def test_shards_of_one_job_ending_together_end_the_job(service: Service) -> None:
    # No control node: no sweep repairs what two finishes might miss.
    service.start_device()
    service.start_device()
    until(lambda: len(service.rows("SELECT 1 FROM workers WHERE status = 'ready'")) == 2)

    jobs = [service.submit(["left ", "right "], max_tokens=3, shard_items=1) for _ in range(25)]

    for job_id in jobs:
        assert service.wait(job_id) == "succeeded"
        assert [item.output for item in service.items(job_id)] == [echo("left ", 3), echo("right ", 3)]
