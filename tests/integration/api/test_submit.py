"""Submitting jobs: what is stored and returned, and every way to be refused with nothing stored."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import text

from api.extension import EXTENSION
from api.services import Services
from models.database import Database
from tests.integration.api.conftest import BARE, CONTEXT, MODEL, Caller, MakeCaller, fill
from tests.integration.api.test_copies import until
from tests.integration.api.test_jobs import run

HEAD = {"kind": "generate", "model": MODEL}
NDJSON = {"Content-Type": "application/x-ndjson"}


def lines(*objects: Any) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)


def num_jobs(database: Database) -> int:
    with database.session() as session:
        return int(session.execute(text("SELECT count(*) FROM jobs")).scalar_one())


def first_error(answer: Any) -> dict[str, Any]:
    assert answer.content_type == "application/problem+json"
    errors: list[dict[str, Any]] = answer.json["errors"]
    return errors[0]


def test_a_job_is_accepted_while_redis_is_down(caller: Caller) -> None:
    answer = caller.post("/v1/jobs", {**HEAD, "inputs": [{"prompt": "a"}, {"prompt": "b"}], "metadata": {"team": "x"}})

    job = answer.json
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert answer.headers["Retry-After"] == "1"
    assert set(job) == {
        "id", "object", "kind", "model", "status", "priority", "counts", "queue", "usage", "parameters",
        "options", "decoding", "created_at", "started_at", "finished_at", "cancel_requested_at", "expires_at",
        "delete_at", "retry_of", "search",
        "metadata", "error", "links",
    }  # fmt: skip
    assert (job["object"], job["status"], job["priority"], job["metadata"]) == ("job", "queued", "bulk", {"team": "x"})
    assert job["counts"] == {
        "total": 2, "queued": 2, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0, "expired": 0
    }  # fmt: skip
    assert job["queue"] == {"ahead": 0, "workers": 0}


def test_defaults_are_filled_in_and_the_seed_is_drawn(caller: Caller) -> None:
    first, second = caller.submit(), caller.submit()

    seeds = {job["parameters"].pop("seed") for job in (first, second)}
    assert len(seeds) == 2
    assert first["parameters"] == {
        "max_tokens": 256, "min_tokens": 0, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0,
        "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "logit_bias": {},
        "stop": [], "stop_token_ids": [], "n": 1, "logprobs": None,
    }  # fmt: skip
    assert first["decoding"]["drafter"] == "auto"
    assert first["priority"] == "interactive"


def test_given_parameters_are_kept(caller: Caller) -> None:
    given = {
        "max_tokens": 5, "min_tokens": 2, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "min_p": 0.1,
        "repetition_penalty": 1.2, "presence_penalty": -1.0, "frequency_penalty": 0.5,
        "logit_bias": {"17": -100.0, "4": 2.5}, "seed": 2**63 - 1, "stop": "\n", "stop_token_ids": [7],
        "n": 4, "logprobs": 20,
    }  # fmt: skip

    job = caller.submit(parameters=given, decoding={"drafter": "cascade"}, priority="bulk", deadline_s=60)

    assert job["parameters"] == {**given, "stop": ["\n"]}
    assert (job["priority"], job["decoding"]["requested_drafter"]) == ("bulk", "cascade")
    assert job["expires_at"] is not None


@pytest.mark.parametrize(
    ("changes", "max_tokens"),
    [({}, 240), ({"style": "headline"}, 30), ({"max_words": 50}, 100), ({"parameters": {"max_tokens": 7}}, 7)],
)
def test_the_length_of_a_summary_follows_its_words(caller: Caller, changes: dict[str, Any], max_tokens: int) -> None:
    body = {"kind": "summarize", "model": MODEL, "inputs": [{"document": "Some words."}], **changes}

    answer = caller.post("/v1/jobs", body)

    assert answer.json["parameters"]["max_tokens"] == max_tokens


def test_items_keep_their_inputs(caller: Caller, database: Database) -> None:
    inputs: list[dict[str, Any]] = [{"custom_id": "x", "prompt": "a"}, {"messages": [{"role": "user", "content": "ö"}]}]
    job = caller.post("/v1/jobs", {**HEAD, "inputs": inputs}).json

    with database.session() as session:
        rows = session.execute(
            text("SELECT custom_id, input FROM items WHERE job_id = :id ORDER BY index"), {"id": job["id"]}
        ).all()

    assert [tuple(row) for row in rows] == [("x", {"prompt": "a"}), (None, {"messages": inputs[1]["messages"]})]


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"model": "nobody"}, 404, "model"),
        ({"kind": "search"}, 400, "inputs"),
        ({"decoding": {"drafter": "magic"}}, 400, "decoding.drafter"),
        ({"parameters": {"max_tokens": 5, "min_tokens": 6}}, 400, "parameters.min_tokens"),
        ({"parameters": {"min_tokens": 257}}, 400, "parameters.min_tokens"),
        ({"parameters": {"max_tokens": 300, "n": 16, "logprobs": 20}}, 400, "parameters.logprobs"),
        ({"kind": "summarize", "inputs": [{"document": "a"}], "parameters": {"n": 2}}, 400, "parameters.n"),
        (
            {"kind": "summarize", "inputs": [{"document": "a"}], "parameters": {"logprobs": 0}},
            400,
            "parameters.logprobs",
        ),
        ({"webhook_url": "ftp://example.org"}, 400, "webhook_url"),
        ({"webhook_url": "https://"}, 400, "webhook_url"),
        ({"webhook_url": "https://user:word@example.org"}, 400, "webhook_url"),
        ({"webhook_url": "https://example.org:port/"}, 400, "webhook_url"),
        ({"webhook_url": "https://exa\nmple.org/"}, 400, "webhook_url"),
        ({"parameters": {"max_tokens": CONTEXT}}, 400, "parameters.max_tokens"),
        ({"parameters": {"temperature": -1}}, 400, "parameters.temperature"),
        ({"inputs": []}, 400, "inputs"),
        (
            {"inputs": [{"prompt": "a", "custom_id": "x"}, {"prompt": "b", "custom_id": "x"}]},
            400,
            "inputs[1].custom_id",
        ),
        ({"model": BARE, "inputs": [{"messages": [{"role": "user", "content": "a"}]}]}, 400, "inputs[0].messages"),
        ({"kind": "summarize", "inputs": [{"document": "a"}], "max_words": CONTEXT}, 400, "max_words"),
        ({"colour": "red"}, 400, "colour"),
    ],
)
def test_a_bad_job_is_refused_by_field(
    caller: Caller, database: Database, changes: dict[str, Any], status: int, field: str
) -> None:
    answer = caller.post("/v1/jobs", {**HEAD, "inputs": [{"prompt": "a"}], **changes})

    assert (answer.status_code, first_error(answer)["field"]) == (status, field)
    assert answer.json["error"]["param"] == field
    assert num_jobs(database) == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"\xff", 400), (b"[" * 50_000, 400)],
)
def test_broken_json_is_refused(caller: Caller, body: bytes, status: int) -> None:
    answer = caller.send("POST", "/v1/jobs", data=body, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json["error"]["code"]) == (status, "malformed_body")


def test_another_media_type_is_refused(caller: Caller) -> None:
    answer = caller.send("POST", "/v1/jobs", data=b"a=1", headers={"Content-Type": "text/csv"})

    assert (answer.status_code, answer.json["error"]["code"]) == (415, "unsupported_media_type")


def test_lines_become_items(caller: Caller) -> None:
    body = lines({**HEAD, "metadata": {"a": "b"}}, *({"custom_id": str(n), "prompt": "a"} for n in range(2500)))

    answer = caller.send("POST", "/v1/jobs", data=body, headers=NDJSON)

    assert answer.status_code == 202, answer.text
    assert (answer.json["counts"]["total"], answer.json["priority"]) == (2500, "bulk")
    items = caller.get(f"/v1/jobs/{answer.json['id']}/items?limit=2&after=2497").json
    assert [item["custom_id"] for item in items["data"]] == ["2498", "2499"]


def test_blank_lines_at_the_end_do_not_count(caller: Caller) -> None:
    answer = caller.send("POST", "/v1/jobs", data=lines(HEAD, {"prompt": "a"}) + b"\n \n", headers=NDJSON)

    assert answer.json["counts"]["total"] == 1


@pytest.mark.parametrize(
    ("body", "line", "field"),
    [
        (b"", 1, None),
        (lines(HEAD), 2, None),
        (b"{\n", 1, None),
        (lines({**HEAD, "inputs": []}, {"prompt": "a"}), 1, "inputs"),
        (lines({**HEAD, "model": "nobody"}, {"prompt": "a"}), None, "model"),
        (lines(HEAD, {"prompt": "a"}) + b"\n" + lines({"prompt": "b"}), 3, None),
        (lines(HEAD, {"prompt": "a"}) + b'{"prompt": "\xff"}\n', 3, None),
        (lines(HEAD, {"prompt": "a"}) + b'{"prompt": "b"\n', 3, None),
        (lines(HEAD, {"prompt": "a"}, {"prompt": 5}), 3, "prompt"),
        (lines(HEAD, {"prompt": "a"}, {"document": "b"}), 3, None),
        (lines(HEAD, *[{"prompt": "a", "custom_id": "x"}] * 2), 3, "custom_id"),
        (lines({**HEAD, "model": BARE}, {"messages": [{"role": "user", "content": "a"}]}), 2, "messages"),
        (lines(HEAD, *[{"prompt": "a"}] * 10_001), 10_002, "inputs"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_accepted(
    caller: Caller, database: Database, body: bytes, line: int | None, field: str | None
) -> None:
    answer = caller.send("POST", "/v1/jobs", data=body, headers=NDJSON)

    assert answer.status_code in (400, 404)
    assert first_error(answer).get("line") == line
    if field is not None:
        assert first_error(answer)["field"] == field
    assert num_jobs(database) == 0


def test_a_long_job_is_taken_whole(caller: Caller) -> None:
    body = lines(HEAD, *[{"prompt": "a"}] * 10_000)

    assert caller.send("POST", "/v1/jobs", data=body, headers=NDJSON).json["counts"]["total"] == 10_000


class Untouchable(io.BytesIO):
    """A body that nobody may read."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise AssertionError("the body was read")

    readinto = read  # type: ignore[assignment]


@pytest.mark.parametrize("media_type", ["application/json", "application/x-ndjson"])
def test_a_declared_300_mb_are_refused_unread(caller: Caller, media_type: str) -> None:
    answer = caller.send(
        "POST",
        "/v1/jobs",
        input_stream=Untouchable(),
        headers={"Content-Type": media_type},
        environ_overrides={"CONTENT_LENGTH": str(300 * 2**20)},
    )

    assert (answer.status_code, answer.json["error"]["code"]) == (413, "body_too_large")


def test_the_same_key_is_the_same_job(caller: Caller, database: Database) -> None:
    body = {**HEAD, "inputs": [{"prompt": "a"}]}
    first, second = (caller.post("/v1/jobs", body, headers={"Idempotency-Key": "k1"}) for _ in range(2))

    assert first.json["id"] == second.json["id"]
    assert first.json["parameters"]["seed"] == second.json["parameters"]["seed"]
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert num_jobs(database) == 1


def test_the_same_key_for_another_body_is_refused(caller: Caller) -> None:
    headers = {"Idempotency-Key": "k1"}
    caller.post("/v1/jobs", {**HEAD, "inputs": [{"prompt": "a"}]}, headers=headers)

    answer = caller.post("/v1/jobs", {**HEAD, "inputs": [{"prompt": "b"}]}, headers=headers)

    assert answer.status_code == 422


def test_keys_of_tenants_do_not_meet(make_caller: MakeCaller) -> None:
    body, headers = {**HEAD, "inputs": [{"prompt": "a"}]}, {"Idempotency-Key": "k1"}
    ours, theirs = (make_caller(name).post("/v1/jobs", body, headers=headers) for name in ("ten_a", "ten_b"))

    assert ours.json["id"] != theirs.json["id"]


def test_a_bad_idempotency_key_is_refused(caller: Caller) -> None:
    answer = caller.post("/v1/jobs", {**HEAD, "inputs": [{"prompt": "a"}]}, headers={"Idempotency-Key": "k" * 256})

    assert (answer.status_code, first_error(answer)["field"]) == (400, "Idempotency-Key")


LONG = lines(HEAD, *[{"prompt": "word " * 100}] * 100)
FORM = {"data": b"x" * len(LONG), "content_type": "multipart/form-data; boundary=b"}


def num_writing(database: Database) -> int:
    """How many wait for the lock that a test holds."""
    with database.session() as session:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return int(session.execute(text(query)).scalar_one())


def test_lines_keep_their_place_until_they_are_written(make_caller: MakeCaller, database: Database) -> None:
    """There are two. Whoever comes third is told to come back, and takes no connection."""
    first, second, third = (make_caller(f"ten_{name}") for name in "abc")
    with ThreadPoolExecutor(2) as pool:
        with database.session() as session:
            session.execute(text("LOCK TABLE items IN SHARE MODE"))
            writing = [pool.submit(one.send, "POST", "/v1/jobs", data=LONG, headers=NDJSON) for one in (first, second)]
            until(lambda: num_writing(database) == 2)
            refused = third.send("POST", "/v1/jobs", data=LONG, headers=NDJSON), third.send("POST", "/v1/files", **FORM)
        written = [one.result() for one in writing]
    again = third.send("POST", "/v1/jobs", data=LONG, headers=NDJSON)

    assert [(answer.status_code, answer.headers["Retry-After"]) for answer in refused] == [(503, "2")] * 2
    assert [answer.status_code for answer in (*written, again)] == [202] * 3


def test_a_long_prompt_leaves_its_place_to_others_while_it_is_answered(
    app: APIFlask, caller: Caller, database: Database
) -> None:
    services: Services = app.extensions[EXTENSION]
    fill(services.bodies, services.settings.num_readers - 1)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(caller.post, "/v1/completions", {"model": MODEL, "prompt": "word " * 10_000})
        until(lambda: num_jobs(database) == 1)
        submitted = caller.send("POST", "/v1/jobs", data=LONG, headers=NDJSON)
        with database.session() as session:
            job_id = session.execute(text("SELECT min(id) FROM jobs")).scalar_one()
        run(database, job_id, 1)
        answered = asked.result()

    assert (submitted.status_code, answered.status_code) == (202, 200)
