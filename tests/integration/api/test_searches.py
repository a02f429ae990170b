"""Searches over HTTP: submitted by administrators, refused by field, followed, resumed, read for ever."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from models.claim import claim
from models.database import Database
from models.finish import finish
from models.fleet import WorkerBeat, announce
from models.keys import Scope
from models.record import ItemResult, record
from models.searches import NewTrial, SearchProgress, note_search, note_trials
from models.settle import Found, SearchVerdict, settle_search
from models.shard import ShardRef
from models.states import ItemStatus, SearchOutcome, SearchPhase
from tests.integration.api.conftest import BARE, MODEL, Caller, MakeCaller, Reply

SEARCH = {"kind": "search", "model": MODEL, "device_kind": "cpu", "budget": {"trials": 20}}
MIXED = [{"prompt": "a"}, {"messages": [{"role": "user", "content": "b"}]}]
TRIAL = NewTrial("01000100", "greedy", 4, 1.25, 0.01, 0.8, 0.2, 4, 1.5)
BEAT = WorkerBeat("wrk_1", "w", "h", 1, MODEL, "cpu", "cpu", "float32", 8, "ready", ("auto", "skip"))
ENDED = ItemResult(0, ItemStatus.SUCCEEDED, None, None, None, None, None)


@pytest.fixture(autouse=True)
def deep(database: Database) -> None:
    """Models with layers to spare."""
    sql(database, "UPDATE models SET num_layers = 4")


def sql(database: Database, statement: str) -> None:
    with database.session() as session:
        session.execute(text(statement))


def search(caller: Caller, **changes: Any) -> str:
    """Submit a search that must be accepted."""
    answer = caller.post("/v1/jobs", {**SEARCH, **changes})
    assert answer.status_code == 202, answer.text
    return str(answer.json["id"])


def work(database: Database, job_id: str, verdict: SearchVerdict | None) -> None:
    """Play the worker: note two trials, and settle if there is a verdict."""
    with database.session() as session:
        claimed = claim(session, job_id, 0, "w", lease_s=60)
        assert claimed is not None
        held = ShardRef(job_id, 0), claimed.epoch
        note_search(session, *held, SearchProgress(SearchPhase.WARM, 2, 1.25, TRIAL.bits, {"scoring": 1.5}))
        note_trials(session, *held, [TRIAL, replace(TRIAL, bits="00000000", speed=1.0)])
        if verdict is not None:
            settle_search(session, *held, verdict)
            record(session, *held, [ENDED])
            finish(session, *held)


def promoted(layer: int = 1) -> SearchVerdict:
    return SearchVerdict(SearchOutcome.PROMOTED, Found((layer,), (1,), 4, None), None, report={"layers": 4})


def at_fault(answer: Reply) -> tuple[int, str]:
    return answer.status_code, answer.json["errors"][0]["field"]


def test_a_search_is_a_job_that_tells_how_far_it_is(caller: Caller, database: Database) -> None:
    job_id = search(caller)
    queued = caller.get(f"/v1/jobs/{job_id}").json
    work(database, job_id, None)
    running = caller.get(f"/v1/jobs/{job_id}").json

    assert (queued["kind"], queued["priority"], queued["counts"]["total"]) == ("search", "search", 1)
    assert (queued["search"]["phase"], queued["search"]["max_trials"]) == (None, 20)
    assert queued["search"]["workers"] == 1
    assert (running["search"]["phase"], running["search"]["num_trials"], running["search"]["best_speed"]) == (
        "warm",
        2,
        1.25,
    )
    assert caller.submit()["search"] is None


def test_a_search_may_be_shared_by_several_workers(caller: Caller) -> None:
    job = caller.get(f"/v1/jobs/{search(caller, workers=3)}").json

    assert (job["counts"]["total"], job["search"]["workers"]) == (3, 3)
    assert [one["status"] for one in caller.get(f"/v1/jobs/{job['id']}/items").json["data"]] == ["queued"] * 3


def test_results_are_every_trial_and_outlive_the_job(caller: Caller, database: Database) -> None:
    job_id = search(caller)
    work(database, job_id, promoted())

    lines = [json.loads(line) for line in caller.get(f"/v1/jobs/{job_id}/results").text.splitlines()]
    assert [(line["number"], line["bits"], line["speed"]) for line in lines] == [
        (0, "01000100", 1.25),
        (1, "0" * 8, 1.0),
    ]
    assert caller.send("DELETE", f"/v1/jobs/{job_id}").status_code == 204
    found = caller.get(f"/v1/searches/{job_id}").json
    assert (found["id"], found["status"], found["outcome"], found["is_promoted"]) == (job_id, None, "promoted", True)
    assert found["report"] == {"layers": 4}
    page = caller.get(f"/v1/searches/{job_id}/trials?limit=1").json
    rest = caller.get(f"/v1/searches/{job_id}/trials?after={page['last_id']}").json
    assert page["data"] + rest["data"] == lines
    assert [one["id"] for one in caller.get("/v1/searches").json["data"]] == [job_id]
    assert caller.get("/v1/searches?model=other").json["data"] == []


def test_its_picture_is_a_page_that_asks_for_nothing(caller: Caller, database: Database) -> None:
    job_id = search(caller)
    early = caller.get(f"/v1/searches/{job_id}/report")
    work(database, job_id, promoted())
    late = caller.get(f"/v1/searches/{job_id}/report")

    assert (early.status_code, early.content_type) == (200, "text/html; charset=utf-8")
    assert early.headers["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert "No verdict yet: queued." in early.text
    assert "It was made active." in late.text
    assert late.text.count("<title>trial ") == 2


def test_a_search_needs_the_admin_scope_and_is_its_tenants(caller: Caller, make_caller: MakeCaller) -> None:
    worker = make_caller(scopes=(Scope.JOBS,))
    stranger = make_caller("ten_other")
    assert worker.post("/v1/jobs", SEARCH).status_code == 403

    job_id = search(caller)
    caller.post(f"/v1/jobs/{job_id}/cancel")
    assert worker.post(f"/v1/jobs/{job_id}/retry").status_code == 403
    assert worker.get(f"/v1/searches/{job_id}").status_code == 200
    for path in (f"/v1/searches/{job_id}", f"/v1/searches/{job_id}/trials", f"/v1/searches/{job_id}/report"):
        assert stranger.get(path).status_code == 404
    assert stranger.get("/v1/searches").json["data"] == []


def test_a_model_is_searched_by_one_at_a_time(caller: Caller, make_caller: MakeCaller) -> None:
    job_id = search(caller)
    again = caller.post("/v1/jobs", SEARCH)
    stranger = make_caller("ten_other").post("/v1/jobs", SEARCH)

    assert (again.status_code, again.json["error"]["code"]) == (409, "search_open")
    assert job_id in again.json["detail"]
    assert stranger.status_code == 409
    assert job_id not in stranger.text
    headers = {"Idempotency-Key": "k"}
    first, second = (caller.post("/v1/jobs", {**SEARCH, "model": BARE}, headers=headers).json for _ in range(2))
    assert first["id"] == second["id"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model": BARE, "calibration": {"prompts": MIXED}}, "calibration.prompts[1].messages"),
        ({"webhook_url": "ftp://a"}, "webhook_url"),
        ({"device_kind": None}, "device_kind"),
        ({"budget": {"trials": 0}}, "budget.trials"),
        ({"workers": 0}, "workers"),
        ({"workers": 9}, "workers"),
    ],
)
def test_a_bad_search_is_refused_by_field(caller: Caller, changes: dict[str, Any], field: str) -> None:
    assert at_fault(caller.post("/v1/jobs", {**SEARCH, **changes})) == (400, field)
    assert caller.get("/v1/jobs").json["data"] == []


def test_a_model_without_layers_to_spare_is_refused(caller: Caller, database: Database) -> None:
    sql(database, "UPDATE models SET num_layers = 3")

    assert at_fault(caller.post("/v1/jobs", SEARCH)) == (400, "model")
    assert at_fault(caller.send("PUT", f"/v1/models/{MODEL}/schedule", body={"cron": "0 2 * * *"})) == (400, "model")
    assert caller.post("/v1/jobs", {**SEARCH, "model": "nobody"}).status_code == 404


def test_the_device_kind_is_that_of_the_workers(caller: Caller, database: Database) -> None:
    body = {**SEARCH, "device_kind": None}
    with database.session() as session:
        announce(session, replace(BEAT, device_kind="cuda"))
    assert caller.post("/v1/jobs", body).json["search"]["device_kind"] == "cuda"
    with database.session() as session:
        announce(session, replace(BEAT, id="wrk_2"))
    assert "say which of cpu, cuda" in caller.post("/v1/jobs", body).text


def test_a_model_that_no_worker_can_skip_in_is_refused_with_the_workers_reason(
    caller: Caller, database: Database
) -> None:
    with database.session() as session:
        announce(session, replace(BEAT, drafters=("plain", "lookup"), note="its layers keep states"))
    answer = caller.post("/v1/jobs", SEARCH)

    assert at_fault(answer) == (400, "model")
    assert "its layers keep states" in answer.json["detail"]


def test_a_cancelled_search_goes_on_where_it_was(caller: Caller, database: Database) -> None:
    job_id = search(caller)
    work(database, job_id, None)
    caller.post(f"/v1/jobs/{job_id}/cancel")
    sql(database, "UPDATE shards SET lease_expires_at = now() - interval '1 s'")
    with database.session() as session:
        claimed = session.execute(text("SELECT epoch FROM shards")).scalar_one()
        record(session, ShardRef(job_id, 0), claimed, [replace(ENDED, status=ItemStatus.CANCELLED)])
        finish(session, ShardRef(job_id, 0), claimed)

    again = caller.post(f"/v1/jobs/{job_id}/retry")
    assert (again.status_code, again.json["retry_of"]) == (202, job_id)
    assert (again.json["search"]["study"], again.json["search"]["num_trials"]) == (job_id, 2)


def test_skip_sets_are_read_activated_and_rolled_back(
    caller: Caller, make_caller: MakeCaller, database: Database
) -> None:
    for layer in (1, 2):
        work(database, search(caller), promoted(layer))
    path = f"/v1/models/{MODEL}/skip-sets"
    new, old = caller.get(path).json["data"]
    assert (new["is_active"], old["is_active"], new["attention"]) == (False, True, [2])  # measured against no incumbent
    assert caller.get(f"{path}/{new['id']}").json == new

    active = caller.post(f"{path}/{new['id']}/activate")
    assert (active.status_code, active.json["is_active"]) == (200, True)
    headers = {"Idempotency-Key": "back"}
    body = {"device_kind": "cpu"}
    back, again = (caller.post(f"{path}/rollback", body, headers=headers).json for _ in range(2))
    assert (back["kind"], back["was"], back["became"]) == ("rolled_back", new["id"], old["id"])
    assert back == again
    history = caller.get(f"/v1/models/{MODEL}/activations").json["data"]
    assert [(one["kind"], one["became"]) for one in history] == [
        ("rolled_back", old["id"]),
        ("activated", new["id"]),
        ("promoted", old["id"]),
    ]
    assert all((one["actor_id"] is None) == (one["search_id"] is not None) for one in history)
    stranger = make_caller("ten_other").get(f"/v1/models/{MODEL}/activations").json["data"]
    assert stranger == [{**one, "actor_id": None, "search_id": None} for one in history]
    actions = [one["action"] for one in caller.get("/v1/audit").json["data"] if one["action"].startswith("skip_set")]
    assert actions == ["skip_set.rolled_back", "skip_set.activated"]
    worker = make_caller(scopes=(Scope.JOBS,))
    assert worker.get(path).status_code == 200
    assert worker.post(f"{path}/{new['id']}/activate").status_code == 403
    assert worker.post(f"{path}/rollback", body).status_code == 403


def test_what_cannot_be_activated_says_why(caller: Caller, database: Database) -> None:
    work(database, search(caller), promoted())
    (found,) = caller.get(f"/v1/models/{MODEL}/skip-sets").json["data"]

    def activate(model: str, skip_set_id: str) -> tuple[int, str]:
        answer = caller.post(f"/v1/models/{model}/skip-sets/{skip_set_id}/activate")
        return answer.status_code, answer.json["error"]["code"]

    assert activate(BARE, found["id"]) == activate(MODEL, "skip_none") == (404, "not_found")
    assert caller.get(f"/v1/models/{BARE}/skip-sets/{found['id']}").status_code == 404
    for change in (
        "UPDATE models SET revision = 'r2'",
        "UPDATE models SET revision = NULL, dtype = 'int8'",
        "UPDATE models SET dtype = 'float32', num_layers = 1",
    ):
        sql(database, change)
        assert activate(MODEL, found["id"]) == (409, "wrong_place")
    refused = caller.post(f"/v1/models/{BARE}/skip-sets/rollback", {"device_kind": "cpu"})
    assert (refused.status_code, refused.json["error"]["code"]) == (409, "nothing_to_roll_back")
    for place in ({}, {"device_kind": "tpu"}, {"device_kind": "cpu", "batch_class": "9"}):
        assert caller.post(f"/v1/models/{MODEL}/skip-sets/rollback", place).status_code == 400


def test_a_schedule_is_put_read_and_removed(caller: Caller, make_caller: MakeCaller) -> None:
    path = f"/v1/models/{MODEL}/schedule"
    assert caller.get(path).status_code == 404
    body = {"cron": "30 2 * * *", "timezone": "Europe/Berlin", "budget": {"trials": 50, "seconds": 900}}
    made = caller.send("PUT", path, body=body)
    changed = caller.send("PUT", path, body={**body, "max_age_days": 3})

    assert (made.status_code, made.json["budget"], made.json["timezone"]) == (200, body["budget"], "Europe/Berlin")
    assert made.json["next_fire_at"].endswith(":30:00.000Z")
    assert changed.json == caller.get(path).json
    assert (changed.json["id"], changed.json["max_age_days"]) == (made.json["id"], 3)
    assert caller.get(f"{path}/fires").json["data"] == []
    stranger = make_caller("ten_other")
    assert stranger.get(path).status_code == stranger.send("DELETE", path).status_code == 404
    assert stranger.send("PUT", path, body=body).json["error"]["code"] == "schedule_taken"
    assert make_caller(scopes=(Scope.JOBS, Scope.MODELS)).get(path).status_code == 403
    assert caller.send("DELETE", path).status_code == 204
    assert caller.get(path).status_code == 404
    assert caller.send("PUT", "/v1/models/nobody/schedule", body=body).status_code == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cron": "30 25 * * *"}, "cron"),
        ({"cron": "* * * * *"}, "cron"),
        ({"cron": ""}, "cron"),
        ({"timezone": "Europe/Atlantis"}, "timezone"),
        ({"budget": {"trials": 0}}, "budget.trials"),
        ({"window_s": 0}, "window_s"),
        ({"max_age_days": 0}, "max_age_days"),
        ({"calibration": "inline"}, "calibration"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_schedule_is_refused_by_field(caller: Caller, changes: dict[str, Any], field: str) -> None:
    answer = caller.send("PUT", f"/v1/models/{MODEL}/schedule", body={"cron": "30 2 * * *", **changes})

    assert at_fault(answer) == (400, field)
    assert caller.get(f"/v1/models/{MODEL}/schedule").status_code == 404
