"""Requests that wait for their job: what comes of them when the worker fails, the service is full, or it stops."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import text

from api.callers import SOCKET
from api.extension import EXTENSION
from api.idempotency import REPLAYED
from api.services import Services
from models.database import Database
from models.record import ItemResult, record
from models.states import ItemStatus
from tests.integration.api.conftest import BARE, MODEL, Caller, Reply, fill
from tests.integration.api.test_jobs import Hands, run

BODY = {"model": MODEL, "prompt": "a"}
ONCE = {"Idempotency-Key": "once"}


def jobs(database: Database) -> list[Any]:
    """Id and status of every job."""
    with database.session() as session:
        return list(session.execute(text("SELECT id, status FROM jobs ORDER BY id")))


def ask_and_hang_up(caller: Caller, headers: dict[str, str], is_stream: bool, **more: Any) -> Reply:
    """Ask over a connection whose other end is closed."""
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        body = {**BODY, "stream": is_stream, **more}
        return caller.post("/v1/completions", body, headers=headers, environ_overrides={SOCKET: ours})


def while_waiting(caller: Caller, database: Database, act: Callable[[str], None], **options: Any) -> Any:
    """Ask, do something once there is a job, and return the answer."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(caller.post, "/v1/completions", BODY, **options)
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


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize(("headers", "status"), [({}, "cancelled"), (ONCE, "queued")])
def test_a_client_that_hangs_up_cancels_unless_it_may_ask_again(
    caller: Caller, database: Database, headers: dict[str, str], status: str, is_stream: bool
) -> None:
    gone = ask_and_hang_up(caller, headers, is_stream)

    assert gone.status_code == 408
    assert [job.status for job in jobs(database)] == [status]


def test_a_stream_may_last_and_an_answer_comes_as_long_as_clients_wait(caller: Caller, database: Database) -> None:
    for is_stream in (False, True):
        ask_and_hang_up(caller, {}, is_stream)

    with database.session() as session:
        asked = text("SELECT extract(epoch FROM expires_at - created_at) FROM jobs ORDER BY id")
        assert [float(row[0]) for row in session.execute(asked)] == [600, 24 * 3600]


def test_a_stream_that_does_not_begin_is_called_off(
    caller: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.streaming.PATIENCE_S", 1)

    answer = caller.post("/v1/completions", {**BODY, "stream": True})

    assert (answer.status_code, answer.json["error"]["message"]) == (504, "no answer within 1 s")
    assert [job.status for job in jobs(database)] == ["cancelled"]


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_client_that_asks_again_gets_the_answer(caller: Caller, database: Database, is_stream: bool) -> None:
    ask_and_hang_up(caller, ONCE, is_stream)
    (job,) = jobs(database)
    run(database, job.id, 1)

    again = caller.post("/v1/completions", {**BODY, "stream": is_stream}, headers=ONCE)

    assert (again.status_code, again.headers["X-Skim-Job-Id"], again.headers[REPLAYED]) == (200, job.id, "true")
    assert '"text": "text 0"' in again.text.replace('":"', '": "')


def test_a_service_that_stops_leaves_what_may_be_asked_for_again(
    app: APIFlask, caller: Caller, database: Database
) -> None:
    services: Services = app.extensions[EXTENSION]

    answer = while_waiting(caller, database, lambda _: services.watcher.close(), headers=ONCE)

    assert (answer.status_code, [job.status for job in jobs(database)]) == (503, ["queued"])


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
