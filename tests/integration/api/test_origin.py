"""Where jobs come from: the ids of a request are kept with what it makes, and reach whoever works on it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from models.claim import claim
from models.database import Database
from models.states import ItemStatus
from tests.integration.api.conftest import MODEL, Caller
from tests.integration.registry.conftest import Registry

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
HEADERS = {"X-Request-Id": "req_mine", "traceparent": PARENT, "tracestate": "vendor=1"}
KEPT = {"request": "req_mine", "traceparent": PARENT, "tracestate": "vendor=1"}


def origin(database: Database, job_id: str) -> Any:
    with database.session() as session:
        return session.execute(text("SELECT origin FROM jobs WHERE id = :id"), {"id": job_id}).scalar_one()


def test_a_job_keeps_the_ids_of_its_request(caller: Caller, database: Database) -> None:
    body = {"kind": "generate", "model": MODEL, "inputs": [{"prompt": "a"}]}

    job_id = caller.post("/v1/jobs", body, headers=HEADERS).json["id"]

    assert origin(database, job_id) == KEPT
    with database.session() as session:
        claimed = claim(session, job_id, 0, "w", lease_s=60)
    assert claimed is not None and claimed.origin == KEPT


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-00f067aa0ba902b7-01"])
def test_a_bad_trace_context_is_no_error(caller: Caller, database: Database, header: str) -> None:
    body = {"kind": "generate", "model": MODEL, "inputs": [{"prompt": "a"}]}

    answer = caller.post("/v1/jobs", body, headers={**HEADERS, "traceparent": header})

    assert answer.status_code == 202
    assert origin(database, answer.json["id"]) == {"request": "req_mine"}


def test_a_retry_comes_from_the_request_that_asks_for_it(caller: Caller, database: Database) -> None:
    body = {"kind": "generate", "model": MODEL, "inputs": [{"prompt": "a"}]}
    first = caller.post("/v1/jobs", body, headers=HEADERS).json["id"]
    registry = Registry(database)
    registry.complete(registry.hold(first), ItemStatus.FAILED)

    again = caller.post(f"/v1/jobs/{first}/retry", headers={"X-Request-Id": "req_again"}).json["id"]

    assert origin(database, again) == {"request": "req_again"}
