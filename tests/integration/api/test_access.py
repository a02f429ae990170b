"""Keys: who is let in, with which scopes, and what every answer carries."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask

from models.database import Database
from models.keys import Scope, create_key
from tests.integration.api.conftest import Caller, MakeCaller

ROUTES = [
    ("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("GET", "/v1/jobs/x"), ("DELETE", "/v1/jobs/x"),
    ("POST", "/v1/jobs/x/cancel"), ("GET", "/v1/jobs/x/items"), ("GET", "/v1/jobs/x/results"),
    ("POST", "/v1/models"), ("GET", "/v1/models"), ("GET", "/v1/models/x"), ("GET", "/v1/models/x/skip-sets"),
    ("POST", "/v1/jobs/x/retry"), ("GET", "/v1/jobs/x/events"), ("GET", "/v1/jobs/x/deliveries"),
    ("POST", "/v1/jobs/x/deliveries/x/retry"),
    ("GET", "/v1/webhooks/secret"), ("POST", "/v1/webhooks/secret"),
    ("POST", "/v1/files"), ("GET", "/v1/files"), ("GET", "/v1/files/x"), ("GET", "/v1/files/x/content"),
    ("DELETE", "/v1/files/x"), ("POST", "/v1/batches"), ("GET", "/v1/batches"), ("GET", "/v1/batches/x"),
    ("POST", "/v1/batches/x/cancel"), ("POST", "/v1/chat/completions"), ("POST", "/v1/completions"),
    ("POST", "/v1/tenants"), ("GET", "/v1/tenants"), ("GET", "/v1/tenants/x"), ("PATCH", "/v1/tenants/x"),
    ("GET", "/v1/audit"),
    ("GET", "/v1/models/x/skip-sets/x"), ("POST", "/v1/models/x/skip-sets/x/activate"),
    ("POST", "/v1/models/x/skip-sets/rollback"), ("GET", "/v1/models/x/activations"),
    ("GET", "/v1/models/x/schedule"), ("PUT", "/v1/models/x/schedule"), ("DELETE", "/v1/models/x/schedule"),
    ("GET", "/v1/models/x/schedule/fires"),
    ("GET", "/v1/searches"), ("GET", "/v1/searches/x"), ("GET", "/v1/searches/x/report"),
    ("GET", "/v1/searches/x/trials"),
    ("GET", "/v1/workers"), ("POST", "/v1/keys"), ("GET", "/v1/keys"), ("DELETE", "/v1/keys/x"),
]  # fmt: skip


@pytest.mark.parametrize("header", [None, "Bearer sk-wrong", "Basic YTpi", "Bearer ", "sk-wrong", "Bearer \xff"])
def test_without_a_good_key_nothing_opens(app: APIFlask, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    stranger = Caller(app.test_client())

    for method, path in ROUTES:
        answer = stranger.send(method, path, headers=headers)
        assert (answer.status_code, answer.json["error"]["code"]) == (401, "invalid_api_key"), (method, path)
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_every_route_but_the_open_ones_is_tried_above(app: APIFlask) -> None:
    rules = {
        (method, re.sub(r"<id:\w+>", "x", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert {rule for rule in rules if rule[1].startswith("/v1/")} == set(ROUTES)


@pytest.mark.parametrize(
    ("scope", "method", "path", "status"),
    [
        (Scope.JOBS, "GET", "/v1/jobs", 200),
        (Scope.JOBS, "GET", "/v1/models", 200),
        (Scope.JOBS, "POST", "/v1/models", 403),
        (Scope.JOBS, "GET", "/v1/keys", 403),
        (Scope.MODELS, "GET", "/v1/jobs", 403),
        (Scope.MODELS, "POST", "/v1/models", 403),
        (Scope.ADMIN, "GET", "/v1/jobs", 200),
        (Scope.ADMIN, "GET", "/v1/keys", 200),
    ],
)
def test_scopes(make_caller: MakeCaller, scope: Scope, method: str, path: str, status: int) -> None:
    answer = make_caller(scopes=[scope]).send(method, path)

    assert answer.status_code == status
    if status == 403:
        assert answer.json["error"]["code"] == "insufficient_scope"
        assert scope.value in answer.json["detail"]


def test_a_key_from_birth_to_end(caller: Caller, app: APIFlask) -> None:
    made = caller.post("/v1/keys", {"name": "ci", "scopes": ["jobs"]})
    other = Caller(app.test_client(), made.json["secret"])

    before = other.get("/v1/jobs").status_code
    listed = next(key for key in caller.get("/v1/keys").json["data"] if key["id"] == made.json["id"])
    gone = caller.send("DELETE", f"/v1/keys/{made.json['id']}")
    after = other.get("/v1/jobs")

    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    assert made.json["secret"].startswith("sk-")
    assert listed["secret"] is None
    assert (listed["name"], listed["scopes"]) == ("ci", ["jobs"])
    assert (before, gone.status_code, after.status_code) == (200, 204, 401)
    assert "revoked" in after.json["detail"]


def test_a_repeated_creation_makes_one_key_and_shows_no_secret_again(caller: Caller) -> None:
    body, headers = {"name": "ci", "scopes": ["jobs"]}, {"Idempotency-Key": "k"}
    first, second = (caller.post("/v1/keys", body, headers=headers) for _ in range(2))
    other = caller.post("/v1/keys", {**body, "name": "cd"}, headers=headers)

    assert first.json["id"] == second.json["id"]
    assert second.json["secret"] is None
    assert other.status_code == 422
    assert len(caller.get("/v1/keys").json["data"]) == 2


def test_an_expired_key_says_so(app: APIFlask, caller: Caller, database: Database) -> None:
    with database.session() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        _, secret = create_key(session, "ten_default", "old", frozenset({Scope.JOBS}), past)

    answer = Caller(app.test_client(), secret).get("/v1/jobs")

    assert (answer.status_code, answer.json["detail"]) == (401, "the API key has expired")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "", "scopes": ["jobs"]}, "name"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["jobs"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "a", "scopes": ["jobs"], "expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({"name": "a", "scopes": ["jobs"], "expires_at": "tomorrow"}, "expires_at"),
    ],
)
def test_a_bad_key_is_refused_by_field(caller: Caller, body: dict[str, Any], field: str) -> None:
    answer = caller.post("/v1/keys", body)

    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, field)


def test_another_tenants_key_cannot_be_revoked(make_caller: MakeCaller) -> None:
    ours, theirs = make_caller("ten_a"), make_caller("ten_b")
    key_id = ours.get("/v1/keys").json["data"][0]["id"]

    assert theirs.send("DELETE", f"/v1/keys/{key_id}").status_code == 404
    assert ours.get("/v1/jobs").status_code == 200


def test_request_ids(app: APIFlask) -> None:
    client = Caller(app.test_client())

    kept = client.get("/nowhere", headers={"X-Request-Id": "abc-1"})
    drawn = client.get("/nowhere", headers={"X-Request-Id": "no good " * 20})

    assert (kept.headers["X-Request-Id"], kept.json["request_id"]) == ("abc-1", "abc-1")
    assert drawn.headers["X-Request-Id"].startswith("req_")
    assert drawn.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PATCH", "/v1/jobs", 405)])
def test_even_the_frameworks_errors_are_problems(app: APIFlask, method: str, path: str, status: int) -> None:
    answer = Caller(app.test_client()).send(method, path)

    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
