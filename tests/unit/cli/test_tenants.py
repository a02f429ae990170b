"""`skim tenants`, `skim audit`, `skim deliveries` and `skim retry`: what they ask the API for."""

from __future__ import annotations

import json

import pytest

from cli.main import run
from tests.unit.cli.test_client import Server, server

__all__ = ["server"]

TENANT = {"id": "ten_1", "name": "acme", "weight": 3}
PAGE = {"object": "list", "data": [TENANT], "has_more": False, "first_id": "ten_1", "last_id": "ten_1"}


@pytest.fixture
def api(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, where the commands look for the API."""
    monkeypatch.setenv("SKIM_API_URL", server.url)
    monkeypatch.setenv("SKIM_API_KEY", "sk-test")
    return server


@pytest.mark.parametrize(
    ("command", "status", "request_line", "body"),
    [
        (["tenants", "create", "acme", "--weight", "3"], 201, "POST /v1/tenants", {"name": "acme", "weight": 3}),
        (
            ["tenants", "set", "ten_1", "--max-jobs", "none", "--max-items", "0", "--no-calibration"],
            200,
            "PATCH /v1/tenants/ten_1",
            {"max_open_jobs": None, "max_open_items": 0, "allows_calibration": False},
        ),
        (
            ["keys", "create", "ci", "--tenant", "ten_1"],
            201,
            "POST /v1/keys",
            {"name": "ci", "scopes": ["jobs"], "tenant_id": "ten_1"},
        ),
        (["retry", "job_1", "--status", "expired"], 202, "POST /v1/jobs/job_1/retry", {"statuses": ["expired"]}),
    ],
)
def test_what_is_sent(api: Server, command: list[str], status: int, request_line: str, body: object) -> None:
    api.answers = [(status, {**TENANT, "secret": "sk-1", "status": "queued", "counts": {"total": 1}})]

    assert run(command) == 0
    ((method, path, _, sent),) = api.requests
    assert (f"{method} {path}", json.loads(sent)) == (request_line, body)


def test_what_is_shown(api: Server, capsys: pytest.CaptureFixture[str]) -> None:
    entry = {"at": "2026-01-02T03:04:05.000Z", "action": "key.used", "subject_id": "key_1", "actor_id": "key_1"}
    delivery = {"id": "evt_1", "status": "given_up", "attempts": 8, "last_error": "status 500"}
    api.answers = [(200, PAGE), (200, {**PAGE, "data": [entry]}), (200, delivery), (200, {**PAGE, "data": [delivery]})]

    codes = [run(command) for command in (["tenants"], ["audit"], ["deliveries", "job_1", "--retry", "evt_1"])]

    assert codes == [0, 0, 0]
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("acme", "key.used", "2026-01-02 03:04:05", "status 500"))
    assert [f"{method} {path.partition('?')[0]}" for method, path, _, _ in api.requests] == [
        "GET /v1/tenants",
        "GET /v1/audit",
        "POST /v1/jobs/job_1/deliveries/evt_1/retry",
        "GET /v1/jobs/job_1/deliveries",
    ]


@pytest.mark.parametrize("options", [[], ["--max-jobs", "few"], ["--weight", "0"]])
def test_what_is_refused_before_anything_is_sent(api: Server, options: list[str]) -> None:
    assert run(["tenants", "set", "ten_1", *options]) == 2
    assert api.requests == []
