"""Requests that wait for their job: what comes of them when the worker fails, the service is full, or it stops."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import text

from api.extension import EXTENSION
from api.services import Services
from models.database import Database
from models.record import ItemResult, record
from models.states import ItemStatus
from tests.integration.api.conftest import BARE, MODEL, Caller, fill
from tests.integration.api.test_jobs import Hands

BODY = {"model": MODEL, "prompt": "a"}


def jobs(database: Database) -> list[Any]:
    """Id and status of every job."""
    with database.session() as session:
        return list(session.execute(text("SELECT id, status FROM jobs ORDER BY id")))


def while_waiting(caller: Caller, database: Database, act: Callable[[str], None]) -> Any:
    """Ask, do something once there is a job, and return the answer."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(caller.post, "/v1/completions", BODY)
        while not (found := jobs(database)):
            assert not asked.done()
        act(found[0].id)
        return asked.result()


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("worker_lost", 500, "generation_failed"),
        ("internal_error", 500, "generation_failed"),
        ("token_out_of_range", 400, "token_out_of_range"),
    ],
)
def test_a_failed_item_is_the_requests_error(
    caller: Caller, database: Database, code: str, status: int, told: str
) -> None:
    def fail(job_id: str) -> None:
        hands = Hands(database, job_id)
        failed = ItemResult(0, ItemStatus.FAILED, None, None, None, None, {"code": code, "message": "said why"})
        with database.session() as session:
            record(session, hands.ref, hands.claim.epoch, [failed])
        hands.finish()

    answer = while_waiting(caller, database, fail)

    assert (answer.status_code, answer.json["error"]["code"]) == (status, told)
    assert answer.json["detail"] == "said why"
    # A prompt that kills engines must not be sent again and again.
    assert answer.headers.get("x-should-retry") == ("false" if status == 500 else None)


def test_a_service_that_stops_calls_the_job_off(app: APIFlask, caller: Caller, database: Database) -> None:
    services: Services = app.extensions[EXTENSION]

    answer = while_waiting(caller, database, lambda _: services.watcher.close())

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert [job.status for job in jobs(database)] == ["cancelled"]


def test_past_the_cap_nothing_is_begun(app: APIFlask, caller: Caller, database: Database) -> None:
    services: Services = app.extensions[EXTENSION]
    fill(services.gate, services.settings.num_waiters)

    answer = caller.post("/v1/completions", BODY)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert jobs(database) == []


def test_a_model_without_a_template_cannot_chat(caller: Caller) -> None:
    messages = [{"role": "user", "content": "a"}]

    answer = caller.post("/v1/chat/completions", {"model": BARE, "messages": messages})

    assert (answer.status_code, answer.json["error"]["param"]) == (400, "messages")
