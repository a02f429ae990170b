"""What a worker and a control node tell of themselves: real processes, scraped; and the ids in their logs."""

import json
import socket
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.states import JobKind, Lane
from models.submit import NewItem, NewJob, submit
from tests.acceptance.workers.echo_engine import ACCEPTED, DRAFTED
from tests.acceptance.workers.service import MODEL, TENANT, Service, until
from workers.exporter import NUM_PORTS

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
ORIGIN = {"request": "req_7", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}

Samples = dict[str, list[tuple[dict[str, str], float]]]


def scrape(port: int) -> Samples:
    """Every sample there is, by name."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def total(found: Samples, name: str, **labels: str) -> float:
    return sum(value for some, value in found.get(name, []) if labels.items() <= some.items())


def ports(first: int) -> dict[str, int]:
    """Which process answers where: the control node sweeps, the worker has an engine. Others may listen there too."""
    found = {}
    for port in range(first, first + NUM_PORTS):
        try:
            names = scrape(port)
        except httpx.HTTPError:
            continue
        for name, metric in (("worker", "skim_engine_ready"), ("control", "skim_sweeps_total")):
            if metric in names:
                found[name] = port
    return found


@pytest.fixture
def first_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return min(int(probe.getsockname()[1]), 65_000)


def carry(service: Service, num_items: int, **changes: Any) -> str:
    """A job with an origin, done."""
    job = NewJob(
        TENANT,
        JobKind.GENERATE,
        MODEL,
        Lane.BULK,
        parameters={"max_tokens": 5, "temperature": 0.0, "seed": 7},
        decoding={"drafter": "auto", "reproducible": False},
        origin=ORIGIN,
        **changes,
    )
    with service.database.session() as session:
        job_id = submit(session, job, [NewItem(None, {"prompt": "abc"}) for _ in range(num_items)]).job_id
    service.bell.ring(MODEL, Lane.BULK)
    assert service.wait(job_id) == "succeeded"
    return job_id


def logged(service: Service, event: str) -> list[dict[str, Any]]:
    lines = [line for path in service.folder.glob("*.log") for line in path.read_text().splitlines()]
    return [found for line in lines if line.startswith("{") and (found := json.loads(line))["event"] == event]


def start_measured(service: Service, first_port: int) -> dict[str, int]:
    """Start control and a device that tell their metrics; who is found at which port."""
    service.env["SKIM_METRICS_BIND"] = f"127.0.0.1:{first_port}"
    service.start_control()
    service.start_device()
    until(service.is_whole)
    until(lambda: set(ports(first_port)) == {"worker", "control"})
    return ports(first_port)


def test_worker_and_control_tell_what_they_do(service: Service, first_port: int) -> None:
    place = start_measured(service, first_port)

    job_id = carry(service, 20)
    service.device.find("generate.echo.bulk").kill()  # what it has counted stays
    until(lambda: total(scrape(place["worker"]), "skim_child_restarts_total", child="bulk node") == 1)
    carry(service, 3)

    worker = scrape(place["worker"])
    assert total(worker, "skim_items_ended_total", model=MODEL, lane="bulk", status="succeeded") == 23
    assert total(worker, "skim_tokens_total", kind="completion") == 23 * 5
    assert total(worker, "skim_verifies_total", drafter="plain") == 23 * 5
    assert total(worker, "skim_drafted_tokens_total", drafter="plain") == 23 * 5 * DRAFTED
    assert total(worker, "skim_accepted_tokens_total", drafter="plain") == 23 * 5 * ACCEPTED
    assert total(worker, "skim_shards_carried_total", outcome="finish") == 3
    assert total(worker, "skim_epoch_conflicts_total") == 0
    assert (total(worker, "skim_engine_ready"), total(worker, "skim_engine_rows")) == (1, 16)
    assert total(worker, "skim_device_memory_bytes", kind="used") == 3 << 20
    assert not any(job_id in str(labels) or TENANT in str(labels) for some in worker.values() for labels, _ in some)
    control = scrape(place["control"])
    assert total(control, "skim_sweeps_total", outcome="done") > 0
    assert total(control, "skim_lease_expiries_total") == 0

    carried = next(line for line in logged(service, "shard carried") if line["job"] == job_id)
    assert (carried["request"], carried["trace"], carried["epoch"]) == ("req_7", TRACE, 1)
    assert carried["shard"] in (0, 1)


def test_a_lease_that_ran_out_and_the_holder_that_came_back_are_counted(service: Service, first_port: int) -> None:
    """A node is frozen until its shard is no longer its own: the sweep counts a lease, the node a conflict."""
    place = start_measured(service, first_port)
    job_id = service.submit(["endless "], max_tokens=2000)
    until(lambda: service.num_running(job_id) == 1)
    node = service.device.find("generate.echo.bulk")
    until(lambda: total(scrape(place["worker"]), "skim_engine_rows_busy") == 1)

    node.suspend()
    until(lambda: total(scrape(place["control"]), "skim_lease_expiries_total") == 1)
    node.resume()

    until(lambda: total(scrape(place["worker"]), "skim_epoch_conflicts_total") == 1)
    service.cancel(job_id)
    assert service.wait(job_id) == "cancelled"
    until(lambda: total(scrape(place["worker"]), "skim_engine_rows_busy") == 0)
