"""What another tenant owns does not exist, and a key opens what its scopes say: every route of the OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from models.keys import Scope
from tests.security.conftest import MODEL, Client, Site, Things, furnish

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Models and what belongs to them are everybody's.
SHARED = {"name", "skip_set_id"}
BODIES: dict[str, Any] = {"PATCH /v1/tenants/{tenant_id}": {"weight": 2}}
UNEQUAL = {"date", "x-request-id"}  # of two answers that are alike
# What a path's parameter may hold beside the plain thing of its name.
MORE = {"/v1/searches/": ("job_id", "search_id"), "/v1/files/": ("file_id", "output_file_id")}

ANY_KEY = {
    "GET /v1/models", "GET /v1/models/{name}", "GET /v1/models/{name}/activations", "GET /v1/models/{name}/skip-sets",
    "GET /v1/models/{name}/skip-sets/{skip_set_id}", "GET /v1/workers",
}  # fmt: skip
ADMIN = {
    "POST /v1/models", "POST /v1/models/{name}/skip-sets/rollback",
    "POST /v1/models/{name}/skip-sets/{skip_set_id}/activate", "GET /v1/models/{name}/schedule",
    "PUT /v1/models/{name}/schedule", "DELETE /v1/models/{name}/schedule", "GET /v1/models/{name}/schedule/fires",
    "POST /v1/keys", "GET /v1/keys", "DELETE /v1/keys/{key_id}", "GET /v1/webhooks/secret", "POST /v1/webhooks/secret",
    "POST /v1/tenants", "GET /v1/tenants", "GET /v1/tenants/{tenant_id}", "PATCH /v1/tenants/{tenant_id}",
    "GET /v1/audit",
}  # fmt: skip


@pytest.fixture(scope="module")
def document(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{site.url}/openapi.json").json()
    return found


@pytest.fixture(scope="module")
def owned(site: Site) -> Things:
    """What a tenant has of everything; the tenant runs nothing, though its key may do all that a tenant's may."""
    return furnish(site.client("ten_owner_of_all"), site.client())


@pytest.fixture(scope="module")
def stranger(site: Site) -> Client:
    return site.client("ten_stranger")


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Method and path of every guarded operation."""
    for path, found in document["paths"].items():
        for method in found:
            if path.startswith("/v1/"):
                yield method.upper(), path


def names_of(path: str) -> list[str]:
    """The parameters of a path."""
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def filled(path: str, ids: dict[str, str]) -> str:
    for name in names_of(path):
        path = path.replace(f"{{{name}}}", ids[name])
    return path


def unknown(identifier: str) -> str:
    """An id of the same form that nobody has."""
    return identifier[:-6] + "zzzzzz"


def private(document: dict[str, Any], owned: Things) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Operations on what is a tenant's own, each with ids of it."""
    for method, path in operations(document):
        if set(names_of(path)) - SHARED:
            yield method, path, owned.ids
            for prefix, (name, extra) in MORE.items():
                if path.startswith(prefix):
                    yield method, path, owned.ids | {name: owned.extra[extra]}
            if path.startswith("/v1/jobs/"):
                yield method, path, owned.ids | {"job_id": owned.extra["batch_job_id"]}


def seen(answer: httpx.Response, ids: dict[str, str]) -> tuple[int, dict[str, str], str]:
    """All that an answer tells, but for what the client said itself and what differs from moment to moment."""
    text = answer.text.replace(answer.headers["x-request-id"], "")
    for name, value in ids.items():
        text = text.replace(value, name)
    return answer.status_code, {name: value for name, value in answer.headers.items() if name not in UNEQUAL}, text


def test_what_is_anothers_is_as_unknown_as_what_is_not(
    document: dict[str, Any], owned: Things, stranger: Client
) -> None:
    tried = set()
    for method, path, ids in private(document, owned):
        others = {name: value if name in SHARED else unknown(value) for name, value in ids.items()}
        body = BODIES.get(f"{method} {path}")
        answers = [stranger.send(method, filled(path, given), json=body) for given in (ids, others)]

        assert answers[0].status_code == 404, (method, path, answers[0].text)
        assert seen(answers[0], ids) == seen(answers[1], others), (method, path)
        tried.add(path)

    assert len(tried) >= 17
    assert owned.owner.send("GET", f"/v1/jobs/{owned.ids['job_id']}").json()["status"] == "succeeded"
    assert owned.owner.send("GET", f"/v1/tenants/{owned.ids['tenant_id']}").json()["weight"] == 1


def test_what_is_named_in_a_body_is_as_unknown(owned: Things, stranger: Client) -> None:
    batch = {"endpoint": "/v1/completions", "completion_window": "1h"}
    for key, path, body in (("file_id", "/v1/batches", batch), ("tenant_id", "/v1/keys", {"name": "k"})):
        name = "input_file_id" if key == "file_id" else key
        more = {"scopes": ["jobs"]} if key == "tenant_id" else {}
        ids, others = {key: owned.ids[key]}, {key: unknown(owned.ids[key])}
        answers = [stranger.send("POST", path, json=body | more | {name: given[key]}) for given in (ids, others)]

        assert answers[0].status_code in (403, 404)
        assert seen(answers[0], ids) == seen(answers[1], others)


def test_lists_show_nothing_of_others(document: dict[str, Any], owned: Things, stranger: Client) -> None:
    secrets = {*owned.ids.values(), *owned.extra.values()} - {MODEL, owned.ids["skip_set_id"]}
    for method, path in operations(document):
        if method == "GET" and not set(names_of(path)) - SHARED:
            for query in ("", "?limit=100", f"?after={owned.ids['job_id']}"):
                text = stranger.send("GET", filled(path, owned.ids) + query).text
                assert {one for one in secrets if one in text and one not in query} == set(), (path, query)


def test_every_operation_has_its_scope(document: dict[str, Any]) -> None:
    said = {
        f"{method} {path}": document["paths"][path][method.lower()]["security"][0]["BearerAuth"]
        for method, path in operations(document)
    }

    assert {name for name, scopes in said.items() if scopes == ["admin"]} == ADMIN
    assert {name for name, scopes in said.items() if scopes == []} == ANY_KEY
    assert {tuple(scopes) for scopes in said.values()} == {("admin",), (), ("jobs",)}


@pytest.mark.parametrize("scope", list(Scope))
def test_a_key_opens_what_its_scope_says(site: Site, document: dict[str, Any], scope: Scope) -> None:
    """With ids of nothing and bodies of nothing: who is let in fails later, and otherwise."""
    caller = site.client(scopes=[scope])
    for method, path in operations(document):
        name = f"{method} {path}"
        wanted = {"admin"} if name in ADMIN else set() if name in ANY_KEY else {"jobs", "admin"}

        answer = caller.send(method, filled(path, dict.fromkeys(names_of(path), "none")))

        assert (answer.status_code == 403) == bool(wanted and scope.value not in wanted), (name, answer.text)
        assert answer.status_code not in (401, 500)


def test_a_search_needs_more_than_the_scope_of_jobs(site: Site) -> None:
    search = {"kind": "search", "model": MODEL, "device_kind": "cpu"}

    answer = site.client("ten_stranger", [Scope.JOBS]).send("POST", "/v1/jobs", json=search)

    assert (answer.status_code, json.loads(answer.text)["error"]["code"]) == (403, "insufficient_scope")
