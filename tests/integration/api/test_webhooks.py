"""Deliveries over HTTP: what became of them, and once more."""

from __future__ import annotations

from models.database import Database
from models.deliveries import note_failed, take_delivery
from tests.integration.api.conftest import Caller, MakeCaller
from tests.integration.api.test_jobs import run

URL = "https://example.org/hook"


def test_how_far_a_delivery_is(caller: Caller, database: Database) -> None:
    job_id, silent_id = caller.submit(webhook_url=URL)["id"], caller.submit()["id"]
    for each in (job_id, silent_id):
        run(database, each, 1)
    with database.session() as session:
        taken = take_delivery(session)
        assert taken is not None
        note_failed(session, taken, "status 503")

    page = caller.get(f"/v1/jobs/{job_id}/deliveries").json
    empty = caller.get(f"/v1/jobs/{silent_id}/deliveries").json

    (row,) = page["data"]
    assert {name: row[name] for name in ("id", "object", "job_id", "url", "status", "attempts", "last_error")} == {
        "id": taken.id, "object": "delivery", "job_id": job_id, "url": URL, "status": "waiting", "attempts": 1,
        "last_error": "status 503",
    }  # fmt: skip
    assert row["next_attempt_at"] > row["created_at"]
    assert (page["object"], page["has_more"], page["first_id"], page["last_id"]) == ("list", False, taken.id, taken.id)
    assert (empty["data"], empty["first_id"]) == ([], None)


def test_a_delivery_is_sent_again(caller: Caller, database: Database) -> None:
    job_id = caller.submit(webhook_url=URL)["id"]
    run(database, job_id, 1)
    with database.session() as session:
        session.connection().exec_driver_sql(
            "UPDATE deliveries SET status = 'given_up', attempts = 8, last_error = 'status 500', ended_at = now()"
        )
    path = f"/v1/jobs/{job_id}/deliveries"
    before = caller.get(path).json["data"][0]

    after = caller.post(f"{path}/{before['id']}/retry")

    assert (before["status"], before["next_attempt_at"]) == ("given_up", None)
    assert after.status_code == 200
    assert (after.json["status"], after.json["attempts"], after.json["ended_at"]) == ("waiting", 0, None)
    assert caller.get(path).json["data"] == [after.json]
    assert caller.post(f"{path}/evt_none/retry").status_code == 404


def test_deliveries_of_others_do_not_exist(make_caller: MakeCaller, caller: Caller, database: Database) -> None:
    job_id = caller.submit(webhook_url=URL)["id"]
    run(database, job_id, 1)
    delivery_id = caller.get(f"/v1/jobs/{job_id}/deliveries").json["data"][0]["id"]
    stranger = make_caller("ten_b")

    assert stranger.get(f"/v1/jobs/{job_id}/deliveries").status_code == 404
    assert stranger.post(f"/v1/jobs/{job_id}/deliveries/{delivery_id}/retry").status_code == 404
