"""Reading, waiting for, cancelling and erasing jobs; their items and results."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from apiflask import APIFlask

from api.extension import EXTENSION
from api.services import Services
from cli.stack.postgres import Postgres
from models.claim import Claim, claim
from models.database import Database
from models.errors import JobNotFound
from models.finish import finish
from models.record import ItemResult, record
from models.shard import ShardRef
from models.states import ItemStatus
from tests.integration.api.conftest import Caller, MakeCaller, fill


class Hands:
    """A worker without a model: takes a job's only shard and writes what it is told."""

    def __init__(self, database: Database, job_id: str) -> None:
        self._database = database
        with database.session() as session:
            found = claim(session, job_id, 0, "w_test", lease_s=60)
        assert found is not None
        self.claim: Claim = found

    def write(self, indices: Sequence[int], status: ItemStatus = ItemStatus.SUCCEEDED, **said: Any) -> None:
        """End the items; `said` goes into each result."""
        is_good = status is ItemStatus.SUCCEEDED
        results = [
            ItemResult(
                index=index,
                status=status,
                output=said.get("output", f"text {index}") if is_good else None,
                finish_reason="stop" if is_good else None,
                usage={"prompt_tokens": 3, "completion_tokens": 2} if is_good else None,
                decoding={"drafter": "plain", "verifies": 2, "drafted": 0, "accepted": 0} if is_good else None,
                error=None if is_good else {"code": "context_exceeded", "message": "too long"},
                **{name: value for name, value in said.items() if name != "output"},
            )
            for index in indices
        ]
        ref = self.ref
        with self._database.session() as session:
            record(session, ref, self.claim.epoch, results, admitted=indices)

    def finish(self) -> None:
        """End the shard, and the job with it."""
        with self._database.session() as session:
            assert finish(session, self.ref, self.claim.epoch)

    @property
    def ref(self) -> ShardRef:
        """The shard."""
        return ShardRef(self.claim.job_id, self.claim.number)


def run(database: Database, job_id: str, num_items: int) -> None:
    """Let all items of a one-shard job succeed."""
    hands = Hands(database, job_id)
    hands.write(range(num_items))
    hands.finish()


def test_a_job_from_queue_to_end(caller: Caller, database: Database) -> None:
    job_id = caller.submit(3)["id"]
    hands = Hands(database, job_id)
    hands.write([0])
    hands.write([1], ItemStatus.FAILED)

    halfway = caller.get(f"/v1/jobs/{job_id}")
    hands.write([2])
    hands.finish()
    ended = caller.get(f"/v1/jobs/{job_id}")

    assert halfway.json["status"] == "running"
    assert halfway.headers["Retry-After"] == "1"
    counts = halfway.json["counts"]
    assert (counts["succeeded"], counts["failed"], counts["queued"] + counts["running"]) == (1, 1, 1)
    assert ended.json["status"] == "succeeded"
    assert ended.json["finished_at"] is not None
    assert ended.json["usage"] == {"prompt_tokens": 6, "completion_tokens": 4}
    assert "Retry-After" not in ended.headers
    assert ended.json["links"]["results"] == f"/v1/jobs/{job_id}/results"


def test_items_while_the_job_runs(caller: Caller, database: Database) -> None:
    job_id = caller.submit(3)["id"]
    hands = Hands(database, job_id)
    hands.write([0])
    hands.write([1], ItemStatus.FAILED)

    page = caller.get(f"/v1/jobs/{job_id}/items?limit=2").json
    rest = caller.get(f"/v1/jobs/{job_id}/items?after={page['last_id']}").json
    failed = caller.get(f"/v1/jobs/{job_id}/items?status=failed").json

    assert (page["object"], page["has_more"], page["first_id"], page["last_id"]) == ("list", True, 0, 1)
    assert page["data"][0] == {
        "object": "item",
        "index": 0,
        "custom_id": "c0",
        "status": "succeeded",
        "output": "text 0",
        "finish_reason": "stop",
        "choices": None,
        "logprobs": None,
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        "decoding": {"drafter": "plain", "verifies": 2, "drafted": 0, "accepted": 0},
        "attempts": 1,
        "error": None,
    }
    assert [(item["index"], item["status"]) for item in rest["data"]] == [(2, "queued")]
    assert [item["error"]["code"] for item in failed["data"]] == ["context_exceeded"]


def test_results_are_lines_in_the_order_of_the_inputs(caller: Caller, database: Database) -> None:
    job_id = caller.submit(3)["id"]
    early = caller.get(f"/v1/jobs/{job_id}/results")
    run(database, job_id, 3)

    answer = caller.get(f"/v1/jobs/{job_id}/results")

    assert (early.status_code, early.json["error"]["code"]) == (409, "job_not_finished")
    assert answer.content_type == "application/x-ndjson"
    assert [json.loads(line)["output"] for line in answer.data.splitlines()] == ["text 0", "text 1", "text 2"]


def begun(caller: Caller, database: Database, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Iterator[bytes]]:
    """A job of five items, and what is to come of its results after the first line of the first of three pages."""
    monkeypatch.setattr("api.results.ITEMS", 2)
    monkeypatch.setattr("api.streams.CHUNK_BYTES", 1)
    job_id = caller.submit(5)["id"]
    run(database, job_id, 5)
    answer = caller.http.open(f"/v1/jobs/{job_id}/results", headers={"Authorization": f"Bearer {caller.secret}"})
    chunks = answer.iter_encoded()
    assert json.loads(next(chunks))["index"] == 0
    return job_id, chunks


def test_results_are_read_page_by_page_and_hold_no_session(
    caller: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, chunks = begun(caller, database, monkeypatch)

    held = [database.engine.pool.checkedout() for _ in chunks]  # type: ignore[attr-defined]

    assert held == [0] * 5  # the last chunk is empty


def test_results_of_a_job_erased_meanwhile_break_off(
    caller: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, chunks = begun(caller, database, monkeypatch)

    assert caller.send("DELETE", f"/v1/jobs/{job_id}").status_code == 204

    assert json.loads(next(chunks))["index"] == 1  # of the page that was read before
    with pytest.raises(JobNotFound):
        next(chunks)


SCORED = {"token": "a", "logprob": -0.5, "bytes": [97]}
LOGPROBS = {"content": [{**SCORED, "top_logprobs": [SCORED]}]}


def test_choices_and_logprobs_are_shown_as_they_were_written(caller: Caller, database: Database) -> None:
    job_id = caller.submit(2, parameters={"n": 2, "logprobs": 1})["id"]
    choices = [{"index": n, "output": "a", "finish_reason": "length", "logprobs": LOGPROBS} for n in range(2)]
    hands = Hands(database, job_id)
    hands.write([0], choices=choices)
    hands.write([1], logprobs=LOGPROBS)
    hands.finish()

    listed = caller.get(f"/v1/jobs/{job_id}/items").json["data"]
    streamed = [json.loads(line) for line in caller.get(f"/v1/jobs/{job_id}/results").text.splitlines()]

    assert [(item["choices"], item["logprobs"]) for item in listed] == [(choices, None), (None, LOGPROBS)]
    assert streamed == listed


def test_large_items_come_in_smaller_pages(caller: Caller, database: Database) -> None:
    job_id = caller.submit(3, parameters={"max_tokens": 400, "n": 6, "logprobs": 20})["id"]
    run(database, job_id, 3)

    page = caller.get(f"/v1/jobs/{job_id}/items").json
    rest = caller.get(f"/v1/jobs/{job_id}/items?after={page['last_id']}").json
    results = caller.get(f"/v1/jobs/{job_id}/results").text.splitlines()

    assert [len(page["data"]), page["has_more"], len(rest["data"]), rest["has_more"]] == [1, True, 1, True]
    assert [json.loads(line)["index"] for line in results] == [0, 1, 2]


def test_streams_are_capped(app: APIFlask, caller: Caller, database: Database) -> None:
    job_id = caller.submit()["id"]
    run(database, job_id, 1)
    services: Services = app.extensions[EXTENSION]
    held = fill(services.gate, services.settings.num_waiters)

    full = caller.get(f"/v1/jobs/{job_id}/results")
    for tenant in held:
        services.gate.leave(tenant)
    free = [caller.get(f"/v1/jobs/{job_id}/results") for _ in range(5)]

    assert (full.status_code, full.headers["Retry-After"]) == (503, "2")
    assert {answer.status_code for answer in free} == {200}


def test_an_unchanged_job_is_not_sent_again(caller: Caller, database: Database) -> None:
    job_id = caller.submit()["id"]
    first = caller.get(f"/v1/jobs/{job_id}")
    condition = {"If-None-Match": first.headers["ETag"]}

    same = caller.get(f"/v1/jobs/{job_id}", headers=condition)
    run(database, job_id, 1)
    other = caller.get(f"/v1/jobs/{job_id}", headers=condition)

    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert (other.status_code, other.json["status"]) == (200, "succeeded")


def test_a_poll_waits_for_news(caller: Caller, database: Database) -> None:
    job_id = caller.submit()["id"]
    timer = threading.Timer(0.5, run, (database, job_id, 1))
    timer.start()
    start = time.monotonic()

    seen = [caller.get(f"/v1/jobs/{job_id}?wait=20").json["status"] for _ in range(2)]
    waited_s = time.monotonic() - start
    timer.join()

    assert seen[-1] == "succeeded" or seen == ["running", "running"]
    assert 0.3 < waited_s < 5


def test_a_poll_ends_with_its_time(caller: Caller) -> None:
    job_id = caller.submit()["id"]
    start = time.monotonic()

    answer = caller.get(f"/v1/jobs/{job_id}?wait=0.4")

    assert answer.json["status"] == "queued"
    assert 0.3 < time.monotonic() - start < 2


def test_a_place_in_the_queue_ends_no_poll(caller: Caller, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.watch.FALLBACK_S", 0.05)
    monkeypatch.setattr("api.jobs.OPEN_S", 0.05)
    older, path = caller.submit()["id"], f"/v1/jobs/{caller.submit()['id']}"
    before = caller.get(path)
    timer = threading.Timer(0.2, caller.post, (f"/v1/jobs/{older}/cancel",))
    timer.start()
    start = time.monotonic()

    polled = caller.get(f"{path}?wait=1.2")
    elapsed_s = time.monotonic() - start
    timer.join()
    known = caller.get(path, headers={"If-None-Match": before.headers["ETag"]})

    assert (before.json["queue"]["ahead"], polled.json["queue"]["ahead"]) == (1, 0)
    assert elapsed_s > 1.1
    assert known.status_code == 304


def test_a_poll_of_a_finished_job_answers_at_once(caller: Caller, database: Database) -> None:
    job_id = caller.submit()["id"]
    run(database, job_id, 1)
    start = time.monotonic()

    assert caller.get(f"/v1/jobs/{job_id}?wait=20").json["status"] == "succeeded"
    assert time.monotonic() - start < 1


def test_polls_beyond_the_cap_answer_at_once(app: APIFlask, caller: Caller) -> None:
    job_id = caller.submit()["id"]
    services: Services = app.extensions[EXTENSION]
    fill(services.gate, services.settings.num_waiters)
    start = time.monotonic()

    answer = caller.get(f"/v1/jobs/{job_id}?wait=20")

    assert (answer.status_code, answer.headers["Retry-After"]) == (200, "2")
    assert time.monotonic() - start < 1


def test_waiters_hold_no_session(app: APIFlask, caller: Caller, database: Database) -> None:
    job_id = caller.submit()["id"]
    pollers = [threading.Thread(target=caller.get, args=(f"/v1/jobs/{job_id}?wait=1.5",)) for _ in range(2)]
    for poller in pollers:
        poller.start()
    time.sleep(0.7)

    pool = database.engine.pool
    held = pool.checkedout()  # type: ignore[attr-defined]
    for poller in pollers:
        poller.join()

    assert held == 0


def test_cancelling(caller: Caller) -> None:
    job_id = caller.submit(2)["id"]

    first = caller.post(f"/v1/jobs/{job_id}/cancel")
    again = caller.post(f"/v1/jobs/{job_id}/cancel")

    assert first.json["status"] == "cancelled"
    assert first.json["cancel_requested_at"] is not None
    assert first.json["counts"]["cancelled"] == 2
    assert (again.status_code, again.json) == (200, first.json)


def test_a_finished_job_cannot_be_cancelled(caller: Caller, database: Database) -> None:
    job_id = caller.submit()["id"]
    run(database, job_id, 1)

    answer = caller.post(f"/v1/jobs/{job_id}/cancel")

    assert (answer.status_code, answer.json["error"]["code"]) == (409, "conflict")


def test_cancelling_twice_with_one_key_is_cancelling_once(caller: Caller) -> None:
    job_id, other = caller.submit()["id"], caller.submit()["id"]
    headers = {"Idempotency-Key": "stop"}

    answers = [caller.post(f"/v1/jobs/{job_id}/cancel", headers=headers) for _ in range(2)]
    mixed = caller.post(f"/v1/jobs/{other}/cancel", headers=headers)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert mixed.status_code == 422


def test_erasing(caller: Caller, database: Database) -> None:
    job_id = caller.submit()["id"]
    early = caller.send("DELETE", f"/v1/jobs/{job_id}")
    run(database, job_id, 1)

    answer = caller.send("DELETE", f"/v1/jobs/{job_id}")

    assert early.status_code == 409
    assert (answer.status_code, answer.data) == (204, b"")
    assert caller.get(f"/v1/jobs/{job_id}/items").status_code == 404


def test_listing(caller: Caller) -> None:
    ids = [caller.submit()["id"] for _ in range(3)]
    caller.post(f"/v1/jobs/{ids[0]}/cancel")

    page = caller.get("/v1/jobs?limit=2").json
    rest = caller.get(f"/v1/jobs?after={page['last_id']}").json
    cancelled = caller.get("/v1/jobs?status=cancelled&kind=generate&model=tiny").json
    none = caller.get("/v1/jobs?model=bare").json

    assert [job["id"] for job in page["data"]] == [ids[2], ids[1]]
    assert (page["has_more"], page["first_id"], page["last_id"]) == (True, ids[2], ids[1])
    assert ([job["id"] for job in rest["data"]], rest["has_more"]) == ([ids[0]], False)
    assert [job["id"] for job in cancelled["data"]] == [ids[0]]
    assert none == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("status=done", "status"),
        ("colour=red", "colour"),
        ("after=%00", "after"),
    ],
)
def test_a_bad_query_is_named(caller: Caller, query: str, field: str) -> None:
    answer = caller.get(f"/v1/jobs?{query}")

    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, field)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""), ("GET", "?wait=5"), ("GET", "/items"), ("GET", "/results"), ("POST", "/cancel"), ("DELETE", ""),
    ],
)  # fmt: skip
def test_another_tenants_job_does_not_exist(make_caller: MakeCaller, method: str, path: str) -> None:
    ours, theirs = make_caller("ten_a"), make_caller("ten_b")
    job_id = ours.submit()["id"]

    answers = [theirs.send(method, f"/v1/jobs/{name}{path}") for name in (job_id, "job_" + "0" * 26, "%00", "a" * 99)]

    assert {answer.status_code for answer in answers} == {404}
    assert ours.get(f"/v1/jobs/{job_id}").json["status"] == "queued"
    assert theirs.get("/v1/jobs").json["data"] == []


def test_a_poll_survives_the_loss_of_its_notifications(
    caller: Caller, database: Database, postgres_server: Postgres
) -> None:
    job_id = caller.submit()["id"]
    timer = threading.Timer(1.0, run, (database, job_id, 1))
    poller = threading.Timer(0.0, caller.get, (f"/v1/jobs/{job_id}?wait=0.5",))
    poller.start()  # the listener starts with the first waiter
    poller.join()
    with postgres_server.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    timer.start()
    start = time.monotonic()

    seen = caller.get(f"/v1/jobs/{job_id}?wait=20").json["status"]
    timer.join()

    assert seen in ("running", "succeeded")
    assert time.monotonic() - start < 6
