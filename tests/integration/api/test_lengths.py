"""Prompts that cannot fit: refused by field or line before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from models.database import Database
from tests.integration.api.conftest import CONTEXT, MODEL, Caller
from tests.unit.workers.conftest import TEMPLATE, save_tokenizer

LONG = "x" * 2 * CONTEXT


@pytest.fixture(autouse=True)
def tokenizer(database: Database, tmp_path: Path) -> None:
    """The model's, a token a byte, where the API can read it."""
    folder = save_tokenizer(tmp_path, TEMPLATE)
    with database.session() as session:
        session.execute(text("UPDATE models SET source = :source"), {"source": str(folder)})


def test_an_input_of_a_json_body(caller: Caller) -> None:
    inputs = [{"prompt": "short"}, {"messages": [{"role": "user", "content": LONG}]}]

    answer = caller.post("/v1/jobs", {"kind": "generate", "model": MODEL, "inputs": inputs})

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "context_length_exceeded")
    assert answer.json["errors"][0]["field"] == "inputs[1].messages"
    assert caller.get("/v1/jobs").json["data"] == []


def test_a_line_of_json_lines(caller: Caller) -> None:
    lines = [{"kind": "generate", "model": MODEL}, {"prompt": "short"}, {"prompt": LONG}]
    body = "\n".join(map(json.dumps, lines))

    answer = caller.send("POST", "/v1/jobs", data=body, headers={"Content-Type": "application/x-ndjson"})

    fault = answer.json["errors"][0]
    assert (answer.status_code, fault["line"], fault["field"]) == (400, 3, "prompt")


def test_a_document_is_never_too_long(caller: Caller) -> None:
    body = {"kind": "summarize", "model": MODEL, "inputs": [{"document": LONG * 20}]}

    assert caller.post("/v1/jobs", body).status_code == 202


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("completions", {"prompt": ["a", LONG]}, "prompt"),
        ("chat/completions", {"messages": [{"role": "user", "content": LONG}]}, "messages"),
    ],
)
def test_a_completion(caller: Caller, path: str, body: dict[str, object], param: str) -> None:
    answer = caller.post(f"/v1/{path}", {"model": MODEL, **body})

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "context_length_exceeded")
    assert answer.json["error"]["param"] == param
