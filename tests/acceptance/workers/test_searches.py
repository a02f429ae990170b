"""Searches beside decoding, in real processes: what they find is taken up, and whoever is killed, they go on."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
import torch

from bench.planted import plant
from bench.weights import shape
from engine.skipset import SkipSet
from models import opening
from models.opening import NewSearch, open_search
from models.states import Calibration, JobKind, Lane
from models.submit import NewJob
from tests.acceptance.workers.conftest import open_service
from tests.acceptance.workers.service import MODEL, TENANT, Service, until
from tests.unit.workers.conftest import save_tokenizer

LAYERS = 12
VOCABULARY = 259  # bytes and three special tokens
PLANTED = SkipSet.of(range(1, LAYERS - 1), range(1, LAYERS - 1))
PROMPTS = [f"{number} a calibration prompt {number * number}" for number in range(6)]


@contextmanager
def open_planted(database_url: str, redis_url: str, folders: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for a network of which much can be skipped, with a control node and no worker yet."""
    folder = save_tokenizer(folders.mktemp("planted"), None)
    planted = plant(shape(LAYERS, 64, 128, 4, 2, VOCABULARY), PLANTED, 0.97, seed=1, rows=8, tokens=32)
    planted.network.to(torch.float64).save_pretrained(folder)  # type: ignore[arg-type]
    with open_service(database_url, redis_url, folders.mktemp("home"), folder, LAYERS) as opened:
        opened.start_control()
        yield opened


@pytest.fixture(scope="module")
def service(module_database: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One real engine."""
    with open_planted(module_database, redis_url, tmp_path_factory) as opened:
        opened.start_device("--rows", "6", "--threads", "1", is_real=True)
        yield opened


def seek(service: Service, monkeypatch: pytest.MonkeyPatch, *, tokens: int = 8, **changes: Any) -> str:
    monkeypatch.setattr(opening, "MAX_TOKENS", tokens)  # of each reference: the tests are about what is around it
    values: dict[str, Any] = {
        "device_kind": "cpu",
        "batch_class": "1",
        "sampler": "tpe",
        "max_trials": 45,
        "max_seconds": None,
        "promotes": True,
        "seed": 7,
        "calibration": Calibration.INLINE,
        "prompts": tuple({"prompt": prompt} for prompt in PROMPTS),
    }
    job = NewJob(tenant_id=TENANT, kind=JobKind.SEARCH, model=MODEL, lane=Lane.SEARCH)
    with service.database.session() as session:
        job_id = open_search(session, job, NewSearch(**{**values, **changes})).job_id
    service.bell.ring(MODEL, Lane.SEARCH)
    return job_id


def num_trials(service: Service, job_id: str) -> int:
    return int(service.rows("SELECT count(*) FROM trials WHERE job_id = :job", job=job_id)[0].count)


def drafted_by(service: Service) -> str | None:
    """The skip set that drafted an item just now."""
    job_id = service.submit(["some words to go on from"], lane=Lane.INTERACTIVE, drafter="skip")
    assert service.wait(job_id) == "succeeded"
    (item,) = service.rows("SELECT decoding FROM items WHERE job_id = :job", job=job_id)
    assert item.decoding["drafter"] == "skip"
    found: str | None = item.decoding["skip_set_id"]
    return found


def scored_twice(service: Service, study: str) -> list[tuple[str, int]]:
    """Candidates that were claimed and scored twice on as many prompts: of each there is one where nothing was lost."""
    rows = service.rows(
        """
        SELECT bits.value_json AS bits, scored.value_json AS scored
        FROM optuna.trials JOIN optuna.studies USING (study_id)
        JOIN optuna.trial_user_attributes AS bits ON bits.trial_id = trials.trial_id AND bits.key = 'bits'
        JOIN optuna.trial_user_attributes AS scored ON scored.trial_id = trials.trial_id AND scored.key = 'scored'
        JOIN optuna.trial_user_attributes AS source ON source.trial_id = trials.trial_id AND source.key = 'source'
        WHERE study_name = :study AND state = 'COMPLETE'
        """,
        study=study,
    )
    seen = [(row.bits, json.loads(row.scored)["prompts"]) for row in rows]
    return [one for one in set(seen) if seen.count(one) > 1]


def states(service: Service, study: str) -> dict[str, int]:
    rows = service.rows(
        "SELECT state, count(*) FROM optuna.trials JOIN optuna.studies USING (study_id) WHERE study_name = :study"
        " GROUP BY state",
        study=study,
    )
    return {row.state: row.count for row in rows}


def keeper_of(service: Service) -> psutil.Process:
    return next(one for one in service.device.tree if "workers.search" in one.cmdline())


def test_what_a_search_finds_drafts_at_once_in_the_running_worker(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert drafted_by(service) is None  # the starting set
    job_id = seek(service, monkeypatch)

    until(lambda: num_trials(service, job_id) > 2)
    assert drafted_by(service) is None  # rows decode meanwhile
    assert service.wait(job_id) == "succeeded"
    (search,) = service.rows("SELECT * FROM searches WHERE job_id = :job", job=job_id)
    for _ in range(2):  # the last word is a clock's: on a busy machine it may find nothing clearly faster
        if search.outcome != "promoted":
            job_id = seek(service, monkeypatch)
            assert service.wait(job_id) == "succeeded"
            (search,) = service.rows("SELECT * FROM searches WHERE job_id = :job", job=job_id)
    (item,) = service.items(job_id)

    assert (search.outcome, search.is_promoted) == ("promoted", True)
    assert item.output.startswith("a new set: skips")
    assert search.num_trials <= 45 and num_trials(service, job_id) >= search.num_trials
    assert search.report["layers"] == LAYERS
    assert {one["drafter"] for one in search.report["measurements"]} == {"plain", "lookup", "skip"}
    assert search.device_seconds["references"] > 0
    assert until(lambda: drafted_by(service) == search.skip_set_id, 10) < 8


def test_a_search_goes_on_whoever_is_killed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = seek(service, monkeypatch, promotes=False, max_trials=18)

    until(lambda: num_trials(service, job_id) > 3)
    keeper_of(service).kill()
    before = num_trials(service, job_id)
    until(lambda: num_trials(service, job_id) > before + 3)
    service.device.find("bulk.").kill()

    assert service.wait(job_id) == "succeeded"
    assert service.rows("SELECT attempts FROM items WHERE job_id = :job", job=job_id)[0].attempts == 3
    assert scored_twice(service, job_id) == []
    until(lambda: "RUNNING" not in states(service, job_id), 5)
    assert states(service, job_id).get("FAIL", 0) <= 2  # one each: the sampler's turn does not come


def test_a_cancelled_search_ends_within_a_second_and_another_begins(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = seek(service, monkeypatch)
    until(lambda: num_trials(service, job_id) > 0)
    service.device.find("workers.serve").kill()
    before = num_trials(service, job_id)
    until(lambda: num_trials(service, job_id) > before + 1)  # the next engine goes on

    service.cancel(job_id)

    assert until(lambda: service.status(job_id) == "cancelled") < 3
    until(lambda: not [one for one in service.device.tree if "workers.search" in one.cmdline()])
    again = seek(service, monkeypatch)
    until(lambda: num_trials(service, again) > 0)
    service.cancel(again)
    assert service.wait(again) == "cancelled"


def test_what_cannot_be_searched_fails_and_says_why(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    long = ({"prompt": "short"}, {"prompt": "x" * 600})
    errors = []
    for prompts in (long, long[:1]):
        job_id = seek(service, monkeypatch, prompts=prompts)
        assert service.wait(job_id) == "failed"
        errors.append(service.items(job_id)[0].error)

    assert errors[0]["code"] == "context_length_exceeded" and "prompt 1" in errors[0]["message"]
    assert errors[1]["code"] == "few_prompts"
