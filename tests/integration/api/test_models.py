"""Registering and reading models, skip sets and workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api.settings import Settings
from models.database import Database
from models.fleet import WorkerBeat, announce
from tests.integration.api.conftest import MODEL, Caller

CONFIG = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 2048, "num_hidden_layers": 30}


@pytest.fixture
def folder(settings: Settings) -> Path:
    """A folder that can be registered."""
    folder = settings.model_roots[0] / "m"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_a_folder_is_registered_and_found(caller: Caller, folder: Path) -> None:
    made = caller.post("/v1/models", {"name": "m", "source": str(folder), "context_length": 1024})

    model = made.json
    created_at = model.pop("created_at")
    assert (made.status_code, made.headers["Location"]) == (201, "/v1/models/m")
    assert created_at.endswith("Z")
    assert model == {
        "id": "m",
        "object": "model",
        "name": "m",
        "source": str(folder),
        "revision": None,
        "dtype": "auto",
        "context_length": 1024,
        "architecture": "LlamaForCausalLM",
        "num_layers": 30,
        "has_chat_template": False,
    }
    assert caller.get("/v1/models/m").json == {**model, "created_at": created_at}
    assert caller.submit(model="m")["model"] == "m"


def test_a_name_is_taken_once(caller: Caller, folder: Path) -> None:
    body = {"name": "m", "source": str(folder)}
    caller.post("/v1/models", body)

    again = caller.post("/v1/models", body)

    assert (again.status_code, again.json["error"]["code"]) == (409, "model_exists")


def test_a_repeated_registration_is_one(caller: Caller, folder: Path) -> None:
    body, headers = {"name": "m", "source": str(folder)}, {"Idempotency-Key": "k"}
    first, second = (caller.post("/v1/models", body, headers=headers) for _ in range(2))
    other = caller.post("/v1/models", {**body, "name": "n"}, headers=headers)

    assert (first.status_code, second.status_code, other.status_code) == (201, 201, 422)
    assert first.json == second.json
    assert second.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "No Good"}, "name"),
        ({"source": "/etc"}, "source"),
        ({"source": "../m"}, "source"),
        ({"context_length": 4096}, "context_length"),
        ({"dtype": "int4"}, "dtype"),
        ({"revision": "main"}, "revision"),
        ({"trust_remote_code": True}, "trust_remote_code"),
    ],
)
def test_a_bad_registration_is_refused_by_field(
    caller: Caller, folder: Path, changes: dict[str, Any], field: str
) -> None:
    answer = caller.post("/v1/models", {"name": "m", "source": str(folder), **changes})

    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, field)
    assert caller.get("/v1/models/m").status_code == 404


def test_what_is_no_causal_language_model_is_refused(caller: Caller, folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, "architectures": ["BertForMaskedLM"]}))

    answer = caller.post("/v1/models", {"name": "m", "source": str(folder)})

    assert (answer.status_code, answer.json["error"]["code"]) == (400, "unusable_source")


def test_models_are_listed_by_name(caller: Caller) -> None:
    first = caller.get("/v1/models?limit=1").json
    rest = caller.get(f"/v1/models?after={first['last_id']}").json

    assert [model["name"] for model in first["data"] + rest["data"]] == ["bare", "tiny"]
    assert (first["has_more"], rest["has_more"]) == (True, False)


def test_a_model_without_skip_sets(caller: Caller) -> None:
    assert caller.get(f"/v1/models/{MODEL}/skip-sets").json["data"] == []
    assert caller.get("/v1/models/nobody/skip-sets").status_code == 404


def test_workers_are_listed_and_counted(caller: Caller, database: Database) -> None:
    beat = WorkerBeat(
        id="wrk_1", name="w", host="h", pid=1, model=MODEL, device="cpu", device_kind="cpu", dtype="float32", rows=8,
        status="ready", drafters=("auto", "plain"), note="it has states",
    )  # fmt: skip
    with database.session() as session:
        announce(session, beat)

    worker = caller.get("/v1/workers").json["data"][0]

    assert (worker["name"], worker["model"], worker["rows"], worker["is_live"]) == ("w", MODEL, 8, True)
    assert (worker["drafters"], worker["note"]) == (["auto", "plain"], "it has states")
    assert caller.submit()["queue"] == {"ahead": 0, "workers": 1}


def test_readiness_counts_workers_that_load_and_that_decode(caller: Caller, database: Database) -> None:
    counts = []
    for status in ("loading", "ready", "stopping"):
        beat = WorkerBeat("wrk_1", "w", "h", 1, MODEL, "cpu", "cpu", "float32", 8, status)
        with database.session() as session:
            announce(session, beat)
        counts.append(caller.get("/readyz").json["workers"])
    with database.session() as session:
        announce(session, WorkerBeat("wrk_1", "w", "h", 1, MODEL, "cpu", "cpu", "float32", 8, "ready"))
        session.execute(text("UPDATE workers SET last_seen_at = now() - interval '1 h'"))
    counts.append(caller.get("/readyz").json["workers"])

    nobody = {"ready": 0, "loading": 0}
    assert counts == [{"ready": 0, "loading": 1}, {"ready": 1, "loading": 0}, nobody, nobody]
