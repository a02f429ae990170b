"""Following a job: one event for every change that is worth one, the end at once, and from where one left off."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from apiflask import APIFlask

from api.extension import EXTENSION
from api.services import Services
from models.database import Database
from models.states import ItemStatus
from tests.integration.api.conftest import MODEL, Caller, MakeCaller
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


def test_a_stream_goes_on_after_the_last_event(caller: Caller, database: Database) -> None:
    job_id = caller.submit()["id"]
    tag = caller.get(f"/v1/jobs/{job_id}").headers["ETag"].removeprefix('W/"').rstrip('"')
    timer = threading.Timer(0.3, run, (database, job_id, 1))
    timer.start()

    resumed = events(caller.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": tag}).text)
    timer.join()
    unknown = events(caller.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "nobody\x7f"}).text)
    over = caller.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": resumed[-1]["id"]})

    assert tag not in [event["id"] for event in resumed]
    assert [event["event"] for event in unknown] == ["end"]
    assert (over.status_code, over.data) == (204, b"")


def test_another_tenants_job_is_not_followed_and_streams_are_capped(
    app: APIFlask, make_caller: MakeCaller, caller: Caller
) -> None:
    job_id = caller.submit()["id"]
    services: Services = app.extensions[EXTENSION]
    for _ in range(services.settings.num_waiters):
        assert services.gate.try_enter()

    assert make_caller("ten_b").get(f"/v1/jobs/{job_id}/events").status_code == 404
    assert caller.get(f"/v1/jobs/{job_id}/events").status_code == 503


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
