"""`skim search`, `skim skipset` and `skim schedule` against the real service over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from apiflask import APIFlask
from werkzeug.serving import make_server

from api.extension import EXTENSION
from api.services import Services
from cli.layers import SKIPPED
from cli.main import run
from models.database import Database
from models.findings import list_findings
from models.settle import SearchVerdict
from models.tenants import DEFAULT_ID
from tests.integration.api.conftest import MODEL, Caller
from tests.integration.api.test_searches import promoted, sql, work

REPORT = {
    "layers": 4,
    "losses": {"attention": [None, 0.1, 0.2, 0.4], "mlp": [0.4, 0.3, 0.2, 0.1]},
    "skipped": {"attention": [1], "mlp": [1]},
    "finalists": [],
    "measurements": [],
}

Skim = Callable[..., str]


@pytest.fixture
def skim(
    app: APIFlask, caller: Caller, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Skim]:
    """Runs a command against the service, listening on loopback, and gives what it printed."""
    # the service logs in this process, and unless told otherwise on the output that is looked at
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    found: Services = app.extensions[EXTENSION]
    found.bell.close(timeout_s=0)  # it has nobody to ring, and would say so on the output that is looked at
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("SKIM_API_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("SKIM_API_KEY", caller.secret or "")
    monkeypatch.setenv("SKIM_HOME", str(tmp_path / "home"))

    def call(*arguments: str, code: int = 0) -> str:
        status = run(list(arguments))
        said = capsys.readouterr()
        assert status == code, said.err
        return said.out if code == 0 else said.err

    yield call
    server.shutdown()
    thread.join()
    server.server_close()
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def deep(database: Database) -> None:
    """Models with layers to spare."""
    sql(database, "UPDATE models SET num_layers = 4")


def verdict(layer: int = 1) -> SearchVerdict:
    return replace(promoted(layer), report=REPORT)


def submit(skim: Skim, *options: str) -> str:
    return skim("search", MODEL, "--device-kind", "cpu", *options).strip()


def when_opened(database: Database, then: Callable[[str], None]) -> threading.Thread:
    """Act on the first search as soon as there is one."""

    def wait() -> None:
        while True:
            with database.session() as session:
                found = list_findings(session, DEFAULT_ID).data
            if found:
                return then(found[0].job_id)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_a_search_is_watched_to_its_end_and_drawn(skim: Skim, database: Database, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "a"}\n{"messages": [{"role": "user", "content": "b"}], "custom_id": "x"}\n')
    page = tmp_path / "search.html"
    worker = when_opened(database, lambda job_id: work(database, job_id, verdict()))

    said = submit(skim, "--watch", "--report", str(page), "--calibration", str(prompts), "--trials", "9")
    worker.join()

    assert "2 of at most 9" in said
    assert "2 inline" in said
    assert "now active" in said
    assert page.read_text().startswith("<!doctype html>")


def test_a_search_that_is_not_watched_is_left_with_its_id(skim: Skim) -> None:
    job_id = submit(skim, "--no-promote", "--sampler", "tpe", "--seconds", "5")

    found = json.loads(skim("show", job_id, "--json"))["search"]
    assert (found["promotes"], found["sampler"], found["max_seconds"]) == (False, "tpe", 5.0)
    assert "at most 400" in skim("show", job_id, "--no-items")
    assert job_id in skim("search", MODEL, "--device-kind", "cpu", code=5)


def test_calls_that_make_no_sense_are_refused(skim: Skim, tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("a")

    assert "--report needs --watch" in skim("search", MODEL, "--report", "a.html", code=2)
    assert "leave --source out" in skim("search", MODEL, "--calibration", str(text), "--source", "recent", code=2)
    assert "calibration.prompts" in skim("search", MODEL, "--device-kind", "cpu", "--calibration", str(text), code=5)


def test_skip_sets_are_drawn_activated_and_rolled_back(skim: Skim, database: Database) -> None:
    assert skim("skipset", "show", MODEL) == ""
    for layer in (1, 2):
        work(database, submit(skim), verdict(layer))
    new, old = (one["id"] for one in json.loads(skim("skipset", "list", MODEL, "--json"))["data"])

    drawn = skim("skipset", "show", MODEL)
    assert drawn.startswith(f"{old} of {MODEL}, cpu float32, batch class 1 (active): 2 of 8 sub-layers skipped")
    assert [line.split()[0] for line in drawn.splitlines() if line] == [
        old, "layer", "0123", "attention", "loss", "MLP", "loss", SKIPPED,
    ]  # fmt: skip
    skim("skipset", "activate", MODEL, new)
    assert skim("skipset", "show", MODEL).startswith(new)
    assert skim("skipset", "rollback", MODEL, "--device-kind", "cpu").strip() == f"back from {new} to {old}"
    assert skim("skipset", "show", MODEL, new).splitlines()[0].endswith("batch class 1: 2 of 8 sub-layers skipped")
    history = skim("skipset", "history", MODEL).splitlines()
    assert [kind for line in history for kind in ("promoted", "activated", "rolled_back") if kind in line] == [
        "rolled_back",
        "activated",
        "promoted",
    ]


def test_a_schedule_is_set_shown_and_removed(skim: Skim) -> None:
    options = ("--timezone", "Europe/Berlin", "--seconds", "900", "--max-age", "7")
    skim("schedule", "set", MODEL, "30 2 * * *", *options)

    shown = json.loads(skim("schedule", "show", MODEL, "--json"))
    assert (shown["cron"], shown["max_age_days"], shown["budget"]["seconds"]) == ("30 2 * * *", 7, 900.0)
    assert "Europe/Berlin" in skim("schedule", "show", MODEL)
    assert skim("schedule", "nights", MODEL, "--json").count('"fire') == 0
    assert "cron: bad hour" in skim("schedule", "set", MODEL, "30 25 * * *", code=5)
    skim("schedule", "remove", MODEL)
    skim("schedule", "show", MODEL, code=7)
