"""A search shared by two workers, in real processes: both contribute, and whoever is killed, its trials are kept."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.workers.service import Device, Service, until
from tests.acceptance.workers.test_searches import num_trials, open_planted, scored_twice, seek, states

# Enough work for a helper that comes late: a doorbell that the lead's node hears is rung again at the next sweep.
MANY = tuple({"prompt": f"{number} a calibration prompt {number * number}"} for number in range(20))

COMPLETE = """
SELECT owner.value_json AS owner FROM optuna.trials JOIN optuna.studies USING (study_id)
JOIN optuna.trial_user_attributes AS owner ON owner.trial_id = trials.trial_id AND owner.key = 'owner'
WHERE study_name = :study AND state = 'COMPLETE'
"""


@pytest.fixture(scope="module")
def service(module_database: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two real engines with the same network."""
    with open_planted(module_database, redis_url, tmp_path_factory) as opened:
        for _ in range(2):
            opened.start_device("--rows", "2", "--threads", "1", is_real=True)
        until(lambda: len(opened.rows("SELECT 1 FROM workers WHERE status = 'ready'")) == 2)
        yield opened


def scored_by(service: Service, study: str) -> Counter[int]:
    """How many trials each shard has scored, whoever held it."""
    return Counter(int(row.owner.strip('"').split("/")[1]) for row in service.rows(COMPLETE, study=study))


def found(service: Service, job_id: str) -> Any:
    (row,) = service.rows("SELECT num_trials, device_seconds FROM searches WHERE job_id = :job", job=job_id)
    return row


def holder(service: Service, job_id: str, number: int) -> Device | None:
    """The device that has a shard, if anybody has."""
    rows = service.rows(
        "SELECT pid FROM shards JOIN workers ON workers.id = worker_id WHERE job_id = :job AND number = :number"
        " AND shards.status = 'running'",
        job=job_id,
        number=number,
    )
    return next((one for one in service.devices for row in rows if one.process.pid == row.pid), None)


def crash(device: Device) -> None:
    """Kill a device's nodes and engine, which its supervisor starts anew."""
    for one in device.tree[1:]:
        one.kill()


def test_both_contribute_and_whoever_is_killed_the_search_goes_on(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = seek(service, monkeypatch, sampler="greedy", promotes=False, workers=2, max_trials=400, prompts=MANY)

    until(lambda: num_trials(service, job_id) > 3)
    until(lambda: min(scored_by(service, job_id)[number] for number in (0, 1)) > 3)
    helper, lead = holder(service, job_id, 1), holder(service, job_id, 0)
    assert helper is not None and lead is not None and lead is not helper
    until(
        lambda: "helper_1" in service.rows("SELECT * FROM searches WHERE job_id = :job", job=job_id)[0].device_seconds
    )
    crash(helper)
    before = num_trials(service, job_id)
    until(lambda: num_trials(service, job_id) > before)
    lead.kill()
    before = num_trials(service, job_id)
    until(lambda: holder(service, job_id, 0) is helper)

    assert service.wait(job_id) == "succeeded"
    assert num_trials(service, job_id) > before
    assert scored_twice(service, job_id) == []
    until(lambda: "RUNNING" not in states(service, job_id), 5)
    assert states(service, job_id).get("FAIL", 0) <= 2  # one each
    led, helped = service.items(job_id)
    assert led.attempts == 2
    assert helped.output.startswith("helped: scored ")
    search = found(service, job_id)
    assert search.device_seconds["helper_1"] > 0 and search.device_seconds["timing"] > 0
    assert search.num_trials >= scored_by(service, job_id)[1] > 3
