"""Batches up to the job that is made of them: what a refusal leaves behind, and what becomes of a shaky input."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import text

from api.extension import EXTENSION
from api.routes.batches import SPOOL_BYTES
from api.services import Services
from api.settings import Settings
from models.batches import NewBatch, open_batch
from models.database import Database
from models.files import CHUNK_BYTES
from models.states import ItemStatus
from models.sweep import sweep
from tests.integration.api.conftest import MODEL, Caller, Reply
from tests.integration.api.test_jobs import Hands

URL = "/v1/completions"
DAY_S = 24 * 3600
MAX_REQUESTS = 600


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A limit of requests small enough to reach."""
    return replace(settings, max_inputs=MAX_REQUESTS)


def line(custom_id: str, **body: Any) -> bytes:
    """A request of a batch."""
    asked = {"model": MODEL, "prompt": "Say it.", "max_tokens": 8, **body}
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": URL, "body": asked}).encode()


def upload(caller: Caller, lines: Sequence[bytes]) -> str:
    """A file of these lines."""
    head = b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
    form = head % (b"purpose", b"", b"batch") + head % (b"file", b'; filename="input.jsonl"', b"\n".join(lines))
    answer = caller.send("POST", "/v1/files", data=form + b"--b--\r\n", content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 200, answer.text
    return str(answer.json["id"])


def create(caller: Caller, file_id: str, *, key: str | None = None, **more: Any) -> Reply:
    """Ask for a batch over a file."""
    body = {"input_file_id": file_id, "endpoint": URL, "completion_window": "24h", **more}
    return caller.post("/v1/batches", body, headers={} if key is None else {"Idempotency-Key": key})


def change(database: Database, statement: str, **values: Any) -> None:
    """What happens behind the service's back."""
    with database.session() as session:
        session.execute(text(statement), values)


def test_a_key_is_free_again_when_its_batch_could_not_start(caller: Caller, database: Database) -> None:
    file_id = upload(caller, [line("a"), line("b")])
    change(database, "UPDATE tenants SET max_open_items = 1")

    refused = create(caller, file_id, key="once")
    change(database, "UPDATE tenants SET max_open_items = 2")
    made, again = (create(caller, file_id, key="once") for _ in range(2))

    assert (refused.status_code, refused.json["error"]["code"]) == (429, "insufficient_quota")
    assert (made.status_code, made.json["status"]) == (200, "in_progress")
    assert "Idempotency-Replayed" not in made.headers
    assert (again.json["id"], again.headers["Idempotency-Replayed"]) == (made.json["id"], "true")
    assert [batch["id"] for batch in caller.get("/v1/batches").json["data"]] == [made.json["id"]]


def test_a_repetition_finds_its_batch_after_the_input_was_erased(caller: Caller) -> None:
    file_id = upload(caller, [line("a")])
    made = create(caller, file_id, key="once")
    caller.send("DELETE", f"/v1/files/{file_id}")

    again, another = create(caller, file_id, key="once"), create(caller, file_id, key="other")

    assert (again.status_code, again.json["id"]) == (200, made.json["id"])
    assert (another.status_code, another.json["error"]["code"]) == (404, "file_not_found")


def test_no_more_long_batches_are_checked_at_once_than_have_a_place(caller: Caller, app: APIFlask) -> None:
    """Here there is one. Who finds none leaves nothing behind, and who asks for a batch that there is needs none."""
    found: Services = app.extensions[EXTENSION]
    file_id = upload(caller, [line("a").ljust(SPOOL_BYTES + 1)])
    made = create(caller, file_id, key="first")

    with found.checks.entered("ten_other"):
        busy, again = create(caller, file_id, key="second"), create(caller, file_id, key="first")
        listed = caller.get("/v1/batches").json["data"]
    freed = create(caller, file_id, key="second")

    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "5")
    assert (busy.json["error"]["type"], busy.json["error"]["code"]) == ("server_error", "unavailable")
    assert again.json["id"] == made.json["id"]
    assert [batch["id"] for batch in listed] == [made.json["id"]]
    assert (freed.status_code, freed.json["status"]) == (200, "in_progress")
    assert "Idempotency-Replayed" not in freed.headers


def test_a_short_batch_needs_no_place_to_be_checked(caller: Caller, app: APIFlask) -> None:
    found: Services = app.extensions[EXTENSION]
    file_id = upload(caller, [line("a")])

    with found.checks.entered("ten_other"):
        assert create(caller, file_id).json["status"] == "in_progress"


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_an_input_that_goes_while_it_is_checked_is_not_cut_short(
    caller: Caller, database: Database, missing: int
) -> None:
    """Every piece ends with a line, so that what is left looks whole."""
    lines = [line(f"c{number}", prompt="x").ljust(1023) for number in range(2 * CHUNK_BYTES // 1024 + 5)]
    file_id = upload(caller, lines)
    change(database, "DELETE FROM file_chunks WHERE file_id = :id AND number = :number", id=file_id, number=missing)

    made = create(caller, file_id)

    assert (made.status_code, made.json["status"], made.json["job_id"]) == (200, "failed", None)
    assert [(error["code"], error["param"]) for error in made.json["errors"]["data"]] == [
        ("file_not_found", "input_file_id")
    ]
    assert caller.get("/v1/jobs").json["data"] == []


def test_every_line_too_many_is_named_and_nothing_runs(caller: Caller) -> None:
    lines = [line(f"c{number}") for number in range(MAX_REQUESTS + 2)]

    most, more = (create(caller, upload(caller, lines[:num])).json for num in (MAX_REQUESTS, MAX_REQUESTS + 2))

    assert (most["status"], most["request_counts"]["total"]) == ("in_progress", MAX_REQUESTS)
    assert (more["status"], more["job_id"]) == ("failed", None)
    assert more["errors"]["data"] == [
        {"code": "too_many_requests", "line": number, "message": "more than 600 requests", "param": None}
        for number in (MAX_REQUESTS + 1, MAX_REQUESTS + 2)
    ]


def test_a_quota_of_tokens_counts_each_line_for_what_it_asks(caller: Caller, database: Database) -> None:
    """A long one among short ones makes them no longer."""
    lines = [line("long", max_tokens=200, n=2), *(line(f"c{number}", max_tokens=10) for number in range(60))]
    file_id = upload(caller, lines)

    change(database, "UPDATE tenants SET max_queued_tokens = 999")
    refused = create(caller, file_id)
    change(database, "UPDATE tenants SET max_queued_tokens = 1000")
    made = create(caller, file_id)

    assert (refused.status_code, refused.json["error"]["code"]) == (429, "insufficient_quota")
    assert (made.status_code, made.json["status"]) == (200, "in_progress")


def test_a_batch_is_cancelled_until_it_has_ended(caller: Caller, database: Database) -> None:
    made = create(caller, upload(caller, [line("a")])).json
    hands = Hands(database, made["job_id"])

    first, second = (cancel(caller, made["id"]) for _ in range(2))
    hands.write([0], ItemStatus.CANCELLED)
    hands.finish()
    third = cancel(caller, made["id"])

    assert [(answer.status_code, answer.json["status"]) for answer in (first, second)] == [(200, "cancelling")] * 2
    assert refusal(third) == (400, "batch_not_cancellable", "it is cancelled")


def test_a_batch_that_nobody_held_is_cancelled_once(caller: Caller) -> None:
    made = create(caller, upload(caller, [line("a")])).json

    first, second = (cancel(caller, made["id"]) for _ in range(2))

    assert (first.status_code, first.json["status"]) == (200, "cancelled")
    assert refusal(second) == (400, "batch_not_cancellable", "it is cancelled")


def test_a_batch_that_is_being_checked_is_cancelled_once(caller: Caller, database: Database) -> None:
    with database.session() as session:
        batch_id = open_batch(session, NewBatch("ten_default", "file_a", URL, "24h", DAY_S, {}))

    first, second = (cancel(caller, batch_id) for _ in range(2))

    assert (first.status_code, first.json["status"]) == (200, "cancelled")
    assert refusal(second) == (400, "batch_not_cancellable", "it is cancelled")


def test_an_expired_batch_is_not_cancelled(caller: Caller, database: Database) -> None:
    made = create(caller, upload(caller, [line("a")])).json
    change(database, "UPDATE jobs SET expires_at = now() - interval '1 s'")
    sweep(database)

    assert caller.get(f"/v1/batches/{made['id']}").json["status"] == "expired"
    assert refusal(cancel(caller, made["id"])) == (400, "batch_not_cancellable", "it is expired")


def cancel(caller: Caller, batch_id: str) -> Reply:
    """Call a batch off."""
    return caller.post(f"/v1/batches/{batch_id}/cancel")


def refusal(answer: Reply) -> tuple[int, str, str]:
    """Status and code, and the message's last words."""
    error = answer.json["error"]
    return answer.status_code, error["code"], error["message"].rpartition(": ")[2]
