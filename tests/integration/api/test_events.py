"""Following a job: one event for every change that is worth one, the end at once, and from where one left off."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest
from apiflask import APIFlask
from werkzeug.test import TestResponse

from api.extension import EXTENSION
from api.marks import HEADER
from api.routes.events import LASTS_S
from api.services import Services
from models.database import Database
from models.states import ItemStatus
from tests.integration.api.conftest import MODEL, Caller, MakeCaller, fill
from tests.integration.api.test_jobs import Hands, run


def events(text: str) -> list[dict[str, Any]]:
    """Name, id and data of each event; comments left out."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append({**lines, "data": json.loads(lines["data"])})
    return found


def test_a_job_from_its_beginning_to_its_end(caller: Caller, database: Database) -> None:
    job_id = caller.submit(2)["id"]
    timer = threading.Timer(0.3, run, (database, job_id, 2))
    timer.start()
    start = time.monotonic()

    answer = caller.get(f"/v1/jobs/{job_id}/events")
    timer.join()
    first, *_, last = events(answer.text)

    assert answer.content_type == "text/event-stream"
    assert (first["event"], first["data"]["status"]) == ("progress", "queued")
    assert (last["event"], last["data"]["counts"]["succeeded"]) == ("end", 2)
    assert last["data"] == caller.get(f"/v1/jobs/{job_id}").json
    assert time.monotonic() - start < 5


def opened(caller: Caller, path: str) -> TestResponse:
    """An answer that is read as it comes, until it is closed."""
    return caller.http.open(path, headers={"Authorization": f"Bearer {caller.secret}"}, buffered=False)


def first_event(caller: Caller, job_id: str) -> dict[str, Any]:
    """Where the job is, without staying for more."""
    with opened(caller, f"/v1/jobs/{job_id}/events") as answer:
        return events(bytes(next(answer.iter_encoded())).decode())[0]


def test_a_stream_goes_on_after_the_last_event(caller: Caller, database: Database) -> None:
    job_id = caller.submit()["id"]
    known = first_event(caller, job_id)
    timer = threading.Timer(0.3, run, (database, job_id, 1))
    timer.start()

    resumed = events(caller.get(f"/v1/jobs/{job_id}/events", headers={HEADER: known["id"]}).text)
    timer.join()
    older = events(caller.get(f"/v1/jobs/{job_id}/events", headers={HEADER: known["id"]}).text)
    over = caller.get(f"/v1/jobs/{job_id}/events", headers={HEADER: resumed[-1]["id"]})
    no_id = events(caller.get(f"/v1/jobs/{job_id}/events", headers={HEADER: ""}).text)

    assert (known["event"], known["data"]["status"]) == ("progress", "queued")
    assert known["id"] not in [event["id"] for event in resumed]
    assert older == [resumed[-1]] == no_id
    assert resumed[-1]["event"] == "end"
    assert (over.status_code, over.data) == (204, b"")


def test_a_stream_ends_after_a_while_and_is_resumed(
    caller: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LASTS_S == 3600
    monkeypatch.setattr("api.routes.events.LASTS_S", 0.5)
    job_id = caller.submit()["id"]
    path, start = f"/v1/jobs/{job_id}/events", time.monotonic()

    (known,) = events(caller.get(path).text)
    passed_s = time.monotonic() - start
    run(database, job_id, 1)
    (resumed,) = events(caller.get(path, headers={HEADER: known["id"]}).text)

    assert known["event"] == "progress"
    assert 0.5 <= passed_s < 5
    assert (resumed["event"], resumed["data"]["status"]) == ("end", "succeeded")


def test_a_stream_ends_with_its_key(caller: Caller, make_caller: MakeCaller) -> None:
    job_id, key = caller.submit()["id"], make_caller()
    keys = caller.get("/v1/keys").json["data"]
    late = threading.Timer(10, caller.post, (f"/v1/jobs/{job_id}/cancel",))  # or it would never end
    late.start()

    with opened(key, f"/v1/jobs/{job_id}/events") as answer:
        chunks = answer.iter_encoded()
        first = events(bytes(next(chunks)).decode())
        revoked = caller.send("DELETE", f"/v1/keys/{keys[0]['id']}")
        start = time.monotonic()
        rest = events(b"".join(chunks).decode())
    late.cancel()

    assert revoked.status_code == 204
    assert [event["event"] for event in first] == ["progress"]
    assert rest == []
    assert time.monotonic() - start < 5
    assert key.get(f"/v1/jobs/{job_id}/events").status_code == 401


def test_a_stream_tells_the_place_in_the_queue(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.watch.FALLBACK_S", 0.05)
    older, job_id = caller.submit()["id"], caller.submit()["id"]

    with opened(caller, f"/v1/jobs/{job_id}/events") as answer:
        chunks = answer.iter_encoded()
        first = next(chunks)
        caller.post(f"/v1/jobs/{older}/cancel")
        second = next(chunks)

    told = events((first + second).decode())
    assert [event["data"]["queue"]["ahead"] for event in told] == [1, 0]
    assert told[0]["id"] != told[1]["id"]


def test_an_id_that_no_event_of_the_job_can_have_had(caller: Caller, database: Database) -> None:
    job_id, other_id = caller.submit(2)["id"], caller.submit()["id"]
    Hands(database, job_id).write([0])
    known, other = first_event(caller, job_id)["id"], first_event(caller, other_id)["id"]
    wrong = {
        "nobody": "not the id of an event",
        "7": "not the id of an event",
        known.rpartition("-")[2]: "not the id of an event",
        known + "0": "not the id of an event",
        other: f"event of {other_id}",
        known.replace("-1-1-", "-1-2-"): "beyond",
        known.replace("-1-1-", "-2-1-"): "beyond",
    }

    answers = {text: caller.get(f"/v1/jobs/{job_id}/events", headers={HEADER: text}) for text in wrong}

    assert {answer.status_code for answer in answers.values()} == {400}
    assert {answer.json["errors"][0]["field"] for answer in answers.values()} == {HEADER}
    assert [text for text, words in wrong.items() if words not in answers[text].json["detail"]] == []


def test_another_tenants_job_is_not_followed_and_streams_are_capped(
    app: APIFlask, make_caller: MakeCaller, caller: Caller
) -> None:
    job_id = caller.submit()["id"]
    services: Services = app.extensions[EXTENSION]
    fill(services.gate, services.settings.num_waiters)

    assert make_caller("ten_b").get(f"/v1/jobs/{job_id}/events").status_code == 404
    assert caller.get(f"/v1/jobs/{job_id}/events").status_code == 503


def test_one_tenant_leaves_places_to_the_others(make_caller: MakeCaller) -> None:
    ours, theirs = make_caller("ten_a"), make_caller("ten_b")
    paths = {caller: f"/v1/jobs/{caller.submit()['id']}/events" for caller in (ours, theirs)}

    with ExitStack() as held:
        answers = [held.enter_context(opened(caller, paths[caller])) for caller in (*[ours] * 5, theirs)]
        statuses = [answer.status_code for answer in answers]

    assert statuses == [200, 200, 200, 503, 503, 200]


def test_what_failed_is_tried_again(caller: Caller, database: Database) -> None:
    job_id = caller.submit(2, retention_s=3600)["id"]
    early = caller.post(f"/v1/jobs/{job_id}/retry")
    hands = Hands(database, job_id)
    hands.write([0])
    hands.write([1], ItemStatus.FAILED)
    hands.finish()

    once = {"Idempotency-Key": "again"}
    made, repeated = (caller.post(f"/v1/jobs/{job_id}/retry", headers=once) for _ in range(2))

    assert early.status_code == 409
    assert (made.status_code, made.headers["Location"]) == (202, f"/v1/jobs/{made.json['id']}")
    assert (made.json["retry_of"], made.json["counts"]["total"], made.json["model"]) == (job_id, 1, MODEL)
    assert (repeated.json["id"], repeated.headers["Idempotency-Replayed"]) == (made.json["id"], "true")
    assert caller.get(f"/v1/jobs/{made.json['id']}/items").json["data"][0]["custom_id"] == "c1"


def test_which_items_are_tried_again_can_be_said(caller: Caller, database: Database) -> None:
    job_id = caller.submit(2)["id"]
    hands = Hands(database, job_id)
    hands.write([0], ItemStatus.FAILED)
    hands.write([1], ItemStatus.EXPIRED)
    hands.finish()
    path = f"/v1/jobs/{job_id}/retry"

    chosen = caller.post(path, {"statuses": ["expired"]})
    none = caller.post(path, {"statuses": ["cancelled"]})
    wrong = caller.post(path, {"statuses": ["succeeded"]})
    empty = caller.post(path, {"statuses": []})

    assert caller.get(f"/v1/jobs/{chosen.json['id']}/items").json["data"][0]["custom_id"] == "c1"
    assert (none.status_code, wrong.status_code, empty.status_code) == (409, 400, 400)
    assert wrong.json["errors"][0]["field"] == "statuses[0]"


def test_a_quota_is_openais_error(caller: Caller, database: Database) -> None:
    with database.session() as session:
        session.connection().exec_driver_sql("UPDATE tenants SET max_queued_tokens = 100")

    answer = caller.post(
        "/v1/jobs",
        {"kind": "generate", "model": MODEL, "inputs": [{"prompt": "a"}] * 2, "parameters": {"max_tokens": 51}},
    )

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "10")
    assert (answer.json["error"]["code"], answer.json["error"]["type"]) == ("insufficient_quota", "insufficient_quota")
    assert caller.get("/v1/jobs").json["data"] == []
