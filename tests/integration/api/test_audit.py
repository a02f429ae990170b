"""The audit: what was done with keys and tenants, by whom, seen by administrators of the tenant alone."""

from __future__ import annotations

from sqlalchemy import text

from models.database import Database
from models.keys import Scope
from models.sweep import sweep
from tests.integration.api.conftest import Caller, MakeCaller


def entries(caller: Caller) -> list[tuple[str, str]]:
    """(action, subject), oldest first."""
    rows = caller.get("/v1/audit?limit=100").json["data"]
    return [(row["action"], row["subject_id"]) for row in reversed(rows)]


def test_a_key_from_birth_to_end(make_caller: MakeCaller) -> None:
    admin = make_caller("ten_a")
    made = admin.post("/v1/keys", {"name": "ci", "scopes": ["jobs"]}).json
    worker = Caller(admin.http, made["secret"])

    for _ in range(3):  # a use is noted once a minute
        assert worker.get("/v1/jobs").status_code == 200
    for _ in range(2):  # so is its end
        assert admin.send("DELETE", f"/v1/keys/{made['id']}").status_code == 204

    found = [entry for entry in entries(admin) if entry[1] == made["id"]]
    assert found == [("key.created", made["id"]), ("key.used", made["id"]), ("key.revoked", made["id"])]


def test_who_did_it_is_named(make_caller: MakeCaller) -> None:
    admin = make_caller("ten_a")
    made = admin.post("/v1/keys", {"name": "ci", "scopes": ["jobs"]}).json
    own = next(row for row in admin.get("/v1/audit").json["data"] if row["action"] == "key.used")

    created = next(row for row in admin.get("/v1/audit").json["data"] if row["action"] == "key.created")

    assert (created["subject_id"], created["actor_id"]) == (made["id"], own["subject_id"])
    assert made["secret"] not in admin.get("/v1/audit").text


def test_a_repeated_request_is_noted_once(make_caller: MakeCaller) -> None:
    admin = make_caller("ten_a")
    for _ in range(2):
        admin.post("/v1/keys", {"name": "ci", "scopes": ["jobs"]}, headers={"Idempotency-Key": "k"})

    assert [action for action, _ in entries(admin)].count("key.created") == 1


def test_changes_of_a_tenant(caller: Caller) -> None:
    caller.send("PATCH", "/v1/tenants/ten_default", body={"weight": 2})

    assert ("tenant.changed", "ten_default") in entries(caller)


def test_others_see_nothing_of_it(make_caller: MakeCaller) -> None:
    ours, theirs, plain = make_caller("ten_a"), make_caller("ten_b"), make_caller("ten_a", scopes=[Scope.JOBS])
    key_id = ours.post("/v1/keys", {"name": "ci", "scopes": ["jobs"]}).json["id"]

    assert key_id not in {subject for _, subject in entries(theirs)}
    assert plain.get("/v1/audit").status_code == 403


def test_old_entries_are_forgotten(caller: Caller, database: Database) -> None:
    caller.get("/v1/jobs")
    with database.session() as session:
        session.execute(text("UPDATE audit SET at = now() - interval '91 days'"))
    sweep(database)

    assert entries(caller) == []
