"""Tenants over HTTP: made and changed by the first tenant's administrators, and the quotas that this sets."""

from __future__ import annotations

from typing import Any

import pytest
from apiflask import APIFlask

from models.keys import Scope
from tests.integration.api.conftest import Caller, MakeCaller


@pytest.fixture
def made(caller: Caller) -> dict[str, Any]:
    answer = caller.post("/v1/tenants", {"name": "acme", "weight": 3, "max_open_jobs": 1})
    assert answer.status_code == 201
    tenant: dict[str, Any] = answer.json
    return tenant


def key_for(caller: Caller, app: APIFlask, tenant_id: str, *scopes: str) -> Caller:
    answer = caller.post("/v1/keys", {"name": "first", "scopes": list(scopes), "tenant_id": tenant_id})
    assert answer.status_code == 201, answer.text
    return Caller(app.test_client(), answer.json["secret"])


def test_a_tenant_from_nothing_to_its_first_job(caller: Caller, app: APIFlask, made: dict[str, Any]) -> None:
    acme = key_for(caller, app, made["id"], "jobs", "admin")

    job_id = acme.submit()["id"]

    assert caller.get(f"/v1/jobs/{job_id}").status_code == 404
    assert acme.get("/v1/tenants").json["data"] == [made]
    assert acme.get(f"/v1/tenants/{made['id']}").json == made
    assert {name: made[name] for name in ("name", "weight", "max_open_jobs", "max_open_items", "retention_s")} == {
        "name": "acme", "weight": 3, "max_open_jobs": 1, "max_open_items": None, "retention_s": None,
    }  # fmt: skip


def test_a_quota_is_set_met_and_lifted(caller: Caller, app: APIFlask, made: dict[str, Any]) -> None:
    acme = key_for(caller, app, made["id"], "jobs")
    body = {"kind": "generate", "model": "tiny", "inputs": [{"prompt": "a"}]}
    acme.submit()

    refused = acme.post("/v1/jobs", body)
    changed = caller.send("PATCH", f"/v1/tenants/{made['id']}", body={"max_open_jobs": None, "max_open_items": 3})
    larger = acme.post("/v1/jobs", {**body, "inputs": [{"prompt": "a"}] * 4})

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
    assert refused.json["error"]["code"] == "insufficient_quota"
    assert (changed.json["max_open_jobs"], changed.json["max_open_items"], changed.json["weight"]) == (None, 3, 3)
    assert larger.status_code == 429
    assert acme.post("/v1/jobs", {**body, "inputs": [{"prompt": "a"}] * 2}).status_code == 202


def test_only_the_first_tenant_administers_others(caller: Caller, app: APIFlask, made: dict[str, Any]) -> None:
    acme = key_for(caller, app, made["id"], "admin")
    own = f"/v1/tenants/{made['id']}"

    answers = [
        acme.post("/v1/tenants", {"name": "mine"}),
        acme.send("PATCH", own, body={"weight": 100}),
        acme.post("/v1/keys", {"name": "k", "scopes": ["admin"], "tenant_id": "ten_default"}),
    ]

    assert [(answer.status_code, answer.json["error"]["code"]) for answer in answers] == [
        (403, "insufficient_scope")
    ] * 3
    assert acme.get("/v1/tenants/ten_default").status_code == 404
    assert caller.get(own).json == made
    assert len(caller.get("/v1/tenants").json["data"]) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"weight": 0}, "weight"),
        ({"weight": None}, "weight"),
        ({"max_open_jobs": -1}, "max_open_jobs"),
        ({"max_queued_tokens": 1.5}, "max_queued_tokens"),
        ({"retention_s": 1}, "retention_s"),
        ({"name": "other"}, "name"),
    ],
)
def test_what_cannot_be_set_is_named(caller: Caller, body: dict[str, Any], field: str) -> None:
    answer = caller.send("PATCH", "/v1/tenants/ten_default", body=body)

    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, field)


def test_a_name_is_given_once_and_a_key_makes_one(caller: Caller, made: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": "t"}
    taken = caller.post("/v1/tenants", {"name": "acme"})

    first, second = (caller.post("/v1/tenants", {"name": "zeta"}, headers=headers) for _ in range(2))
    other = caller.post("/v1/tenants", {"name": "eta"}, headers=headers)

    assert (taken.status_code, taken.json["error"]["code"]) == (409, "tenant_exists")
    assert (first.json, second.headers["Idempotency-Replayed"]) == (second.json, "true")
    assert other.status_code == 422


def test_unknown_tenants(make_caller: MakeCaller) -> None:
    admin = make_caller(scopes=[Scope.ADMIN])

    answers = [
        admin.get("/v1/tenants/ten_x"),
        admin.send("PATCH", "/v1/tenants/ten_x", body={"weight": 2}),
        admin.post("/v1/keys", {"name": "k", "scopes": ["jobs"], "tenant_id": "ten_x"}),
    ]

    assert [answer.status_code for answer in answers] == [404] * 3
