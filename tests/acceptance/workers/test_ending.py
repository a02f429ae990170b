"""Jobs that end before their time: cancelled or past their deadline."""

from tests.acceptance.workers.service import Service, echo, until

FOREVER = 4000  # tokens: 40 s of the echo engine


def test_a_cancelled_job_ends_within_a_second(shared: Service) -> None:
    job_id = shared.submit(["a", "b", "c"], max_tokens=FOREVER)
    short = shared.submit(["quick "], max_tokens=5)
    until(lambda: shared.num_running(job_id) == 3)
    assert shared.wait(short) == "succeeded"

    shared.cancel(job_id)
    took_s = until(lambda: shared.status(job_id) == "cancelled")

    assert took_s < 1.0
    assert {item.status for item in shared.items(job_id)} == {"cancelled"}


def test_finished_items_of_a_cancelled_job_are_kept(shared: Service) -> None:
    prompts = [f"item {number} " for number in range(200)]
    job_id = shared.submit(prompts, max_tokens=20)
    until(lambda: shared.num_done(job_id) >= 5)

    shared.cancel(job_id)

    assert shared.wait(job_id) == "cancelled"
    items = shared.items(job_id)
    kept = [item for item in items if item.status == "succeeded"]
    assert 5 <= len(kept) < 200
    assert all(item.output == echo(prompts[item.index], 20) for item in kept)
    assert {item.status for item in items} == {"succeeded", "cancelled"}


def test_no_text_reaches_a_log(shared: Service) -> None:
    job_id = shared.submit(["zebrafinch ", "zebrafinch " * 1000], max_tokens=5)

    assert shared.wait(job_id) == "succeeded"
    assert [item.status for item in shared.items(job_id)] == ["succeeded", "failed"]
    logs = "".join(path.read_text() for path in shared.folder.glob("*.log"))
    assert job_id in logs
    assert "zebra" not in logs


def test_a_job_past_its_deadline_expires(shared: Service) -> None:
    job_id = shared.submit(["a"], max_tokens=FOREVER, deadline_s=1)

    assert shared.wait(job_id, patience_s=10) == "expired"
    assert shared.items(job_id)[0].status == "expired"
