"""`/metrics` of the API: for operators by default, and true."""

from __future__ import annotations

from dataclasses import replace

import pytest
from apiflask import APIFlask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from api.app import create_app
from api.exposition import RegistryCollector
from api.extension import EXTENSION
from api.settings import Settings
from models.claim import claim
from models.database import Database
from models.keys import Scope
from models.record import record
from models.shard import ShardRef
from tests.integration.api.conftest import MODEL, Caller, MakeCaller

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(exposed: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposed)
        for sample in family.samples
    }


def one(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def scrape(caller: Caller) -> Samples:
    answer = caller.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    return samples(answer.text)


@pytest.fixture(autouse=True)
def fresh(app: APIFlask, database: Database) -> None:
    """Every look is a new one."""
    services = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(services, gauges=RegistryCollector(database, fresh_s=0))


def test_what_waits_is_told_by_model_and_lane(caller: Caller) -> None:
    caller.submit(20)
    caller.submit(1)

    found = scrape(caller)

    assert one(found, "skim_registry_up") == 1
    assert one(found, "skim_queue_items", model=MODEL, lane="bulk") == 20
    assert one(found, "skim_queue_shards", model=MODEL, lane="bulk") == 2
    assert one(found, "skim_queue_items", model=MODEL, lane="interactive") == 1
    assert one(found, "skim_queue_items", model="bare", lane="bulk") == 0
    assert one(found, "skim_workers", model=MODEL, status="ready") == 0
    assert one(found, "skim_jobs_open", status="queued") == 2


def test_what_runs_and_how_long_the_rest_has_waited_are_told(caller: Caller, database: Database) -> None:
    job = caller.submit(20)
    with database.session() as session:
        claimed = claim(session, job["id"], 0, "w_a", lease_s=60)
        assert claimed is not None
        record(session, ShardRef(job["id"], 0), claimed.epoch, [], admitted=[0, 1, 2])
        session.execute(text("UPDATE shards SET created_at = now() - interval '90 s'"))

    found = scrape(caller)

    assert one(found, "skim_items_running", model=MODEL, lane="bulk") == 3
    assert one(found, "skim_items_claimed", model=MODEL, lane="bulk") == 13
    assert one(found, "skim_queue_items", model=MODEL, lane="bulk") == 4
    assert 90 <= one(found, "skim_queue_age_seconds", model=MODEL, lane="bulk") < 150
    assert one(found, "skim_queue_age_seconds", model=MODEL, lane="interactive") == 0


def test_requests_are_counted_by_route(caller: Caller) -> None:
    labels = {"method": "GET", "route": "/v1/jobs/<id:job_id>", "status": "404"}
    before = scrape(caller).get(("skim_http_requests_total", frozenset(labels.items())), 0)

    for number in range(3):
        caller.get(f"/v1/jobs/job_{number:026d}")
    caller.get("/no/such/path")
    caller.send("BREW", "/v1/jobs")

    found = scrape(caller)
    assert one(found, "skim_http_requests_total", **labels) == before + 3
    routes = {value for _, some in found for name, value in some if name == "route"}
    methods = {value for _, some in found for name, value in some if name == "method"}
    assert "/no/such/path" not in routes and "unknown" in routes
    assert "BREW" not in methods


def test_no_tenant_and_no_job_is_named(caller: Caller, make_caller: MakeCaller) -> None:
    job = make_caller("ten_secretive").submit(3)

    told = caller.get("/metrics").text

    assert "secretive" not in told
    assert job["id"] not in told


@pytest.mark.parametrize(
    ("tenant", "scopes", "status"),
    [
        ("ten_default", {Scope.METRICS}, 200),
        ("ten_default", {Scope.JOBS, Scope.MODELS}, 403),
        ("ten_other", {Scope.ADMIN}, 403),
    ],
)
def test_metrics_are_for_operators(make_caller: MakeCaller, tenant: str, scopes: set[Scope], status: int) -> None:
    assert make_caller(tenant, tuple(scopes)).get("/metrics").status_code == status


def test_without_a_key_there_are_none(app: APIFlask) -> None:
    answer = Caller(app.test_client()).get("/metrics")

    assert answer.status_code == 401
    assert "skim_" not in answer.text


def test_a_key_for_metrics_is_for_nothing_else(make_caller: MakeCaller) -> None:
    assert make_caller(scopes=(Scope.METRICS,)).get("/v1/jobs").status_code == 403


def test_open_metrics_outlive_the_database() -> None:
    nowhere = "postgresql+psycopg://skim:skim@127.0.0.1:9/skim"
    app = create_app(Settings(database_url=nowhere, redis_url="redis://127.0.0.1:9/0", metrics_open=True))

    found = scrape(Caller(app.test_client()))

    assert one(found, "skim_registry_up") == 0
    assert not any(name == "skim_queue_items" for name, _ in found)
