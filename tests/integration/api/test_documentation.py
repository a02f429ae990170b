"""`/openapi.json` and `/docs`: complete, consistent, and without a word from another host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from apiflask import APIFlask

from tests.integration.api.conftest import Caller


@pytest.fixture
def document(app: APIFlask) -> dict[str, Any]:
    answer = Caller(app.test_client()).get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json
    return found


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}

    assert set(references(document)) - names == set()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in document["components"]["schemas"])


def test_every_route_is_described_and_guarded(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert ("security" in operation) == path.startswith("/v1/"), (method, path)


def test_the_job_body_has_two_media_types(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]

    assert set(content) == {"application/json", "application/x-ndjson"}


def test_errors_are_problems(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "400" and path != "/readyz":  # which says the same as when it is ready
                    assert set(response["content"]) == {"application/problem+json"}


def test_the_page_and_its_files_come_from_here(app: APIFlask) -> None:
    client = Caller(app.test_client())
    page = client.get("/docs")
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)

    assert page.status_code == 200
    assert len(files) == 4
    assert all(name.startswith("/docs/assets/") for name in files)
    assert {client.get(name).status_code for name in files} == {200}
    assert client.get("/docs/assets/../__init__.py").status_code == 404
