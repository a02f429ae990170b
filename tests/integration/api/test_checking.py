"""Batches while their lines are checked: what others see, who may repeat it, what becomes of one that is cut off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import text

from api.batch_input import Check
from api.pieces import pieces
from api.routes import batches
from models.batches import LEASE_S, NewBatch, open_batch
from models.database import Database, connect
from models.files import CHUNK_BYTES, FileView
from models.finish import finish
from models.submit import NewItem, Submitted, submit
from models.sweep import sweep
from tests.integration.api.conftest import Caller, Reply
from tests.integration.api.test_batches import DAY_S, URL, cancel, change, create, line, refusal, upload
from tests.integration.api.test_jobs import Hands
from tests.integration.registry.conftest import Registry, until_blocked
from tests.tools.serving import environment, serving, wait_until_live

WAIT_S = 20


@dataclass
class Held:
    """Checks that stop before the first piece of their input, until they are let go."""

    has_begun: threading.Event = field(default_factory=threading.Event)
    may_go: threading.Event = field(default_factory=threading.Event)

    def pieces(self, database: Database, file: FileView) -> Iterator[bytes]:
        """As the real ones, later."""
        self.has_begun.set()
        assert self.may_go.wait(WAIT_S)
        yield from pieces(database, file)

    @contextmanager
    def creating(self, caller: Caller, file_id: str, key: str) -> Iterator[Future[Reply]]:
        """A request whose check has begun; it is let go with the block."""
        with ThreadPoolExecutor(1) as pool:
            reply = pool.submit(create, other(caller), file_id, key=key)
            try:
                assert self.has_begun.wait(WAIT_S)
                yield reply
            finally:
                self.may_go.set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """Every check of the test is held."""
    held = Held()
    monkeypatch.setattr(batches, "pieces", held.pieces)
    return held


def other(caller: Caller) -> Caller:
    """The same caller on another thread."""
    return Caller(caller.http.application.test_client(), caller.secret)


def seen(caller: Caller) -> dict[str, Any]:
    """The only batch."""
    (batch,) = caller.get("/v1/batches").json["data"]
    assert caller.get(f"/v1/batches/{batch['id']}").json == batch
    return dict(batch)


def lapse(database: Database) -> None:
    """Let the time of the only batch's check be over."""
    change(database, "UPDATE batches SET checking_until = now() - interval '1 s'")


def swept(database: Database) -> None:
    """What the control node does every two seconds."""
    sweep(database)


def lease_s(database: Database) -> float:
    """How long the only batch counts as being checked from now on."""
    with database.session() as session:
        left = session.execute(text("SELECT extract(epoch FROM checking_until - now())::float8 FROM batches"))
        return float(left.scalar_one())


def is_checking(database: Database) -> bool:
    """Whether there is a batch that is neither good nor refused yet."""
    with database.session() as session:
        return bool(session.execute(text("SELECT 1 FROM batches WHERE num_nonnulls(job_id, failed_at) = 0")).first())


def wait_until(is_so: Callable[[], bool]) -> None:
    """Return once it is so."""
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_batch_is_validating_while_its_lines_are_checked(caller: Caller, held: Held) -> None:
    file_id = upload(caller, [line("a")])

    with held.creating(caller, file_id, "once") as reply:
        during = seen(caller)
    made = reply.result(WAIT_S)

    assert (during["status"], during["job_id"], during["in_progress_at"]) == ("validating", None, None)
    assert during["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    assert (made.json["id"], made.json["status"]) == (during["id"], "in_progress")


def test_a_batch_is_finalizing_from_its_last_item_until_its_job_has_ended(caller: Caller, database: Database) -> None:
    made = create(caller, upload(caller, [line("a"), line("b")])).json
    hands = Hands(database, made["job_id"])
    hands.write([1])
    running = seen(caller)
    time.sleep(1.1)  # whole seconds are told
    hands.write([0])

    ending = seen(caller)
    hands.finish()
    ended = seen(caller)

    with database.session() as session:
        last = session.execute(text("SELECT finished_at FROM items WHERE index = 0")).scalar_one()
    assert (running["status"], running["finalizing_at"]) == ("in_progress", None)
    assert (ending["status"], ending["finalizing_at"]) == ("finalizing", int(last.timestamp()))
    assert (ending["completed_at"], ending["output_file_id"]) == (None, None)
    assert (ended["status"], ended["finalizing_at"]) == ("completed", ended["completed_at"])


def test_a_repetition_waits_for_the_check_to_end(caller: Caller, held: Held, database: Database) -> None:
    """The first may come to nothing, and its batch with it: nobody is given that to poll."""
    file_id = upload(caller, [line("a"), line("b")])
    change(database, "UPDATE tenants SET max_open_items = 1")

    with held.creating(caller, file_id, "once") as reply:
        early = create(caller, file_id, key="once")
    refused = reply.result(WAIT_S)
    change(database, "UPDATE tenants SET max_open_items = 2")
    made = create(caller, file_id, key="once")

    assert (early.status_code, early.json["error"]["code"], early.headers["Retry-After"]) == (
        409,
        "batch_being_checked",
        "5",
    )
    assert "x-should-retry" not in early.headers
    assert (refused.status_code, refused.json["error"]["code"]) == (429, "insufficient_quota")
    assert (made.status_code, made.json["status"]) == (200, "in_progress")
    assert seen(caller)["id"] == made.json["id"]


def test_a_repetition_gets_the_batch_once_it_was_found_good(caller: Caller, held: Held) -> None:
    file_id = upload(caller, [line("a")])

    with held.creating(caller, file_id, "once") as reply:
        assert create(caller, file_id, key="once").status_code == 409
    first, again = reply.result(WAIT_S), create(caller, file_id, key="once")

    assert (again.status_code, again.json["id"], again.headers["Idempotency-Replayed"]) == (
        200,
        first.json["id"],
        "true",
    )


def test_a_check_says_that_it_goes_on(caller: Caller, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    def slow(database: Database, file: FileView) -> Iterator[bytes]:
        for piece in pieces(database, file):
            change(database, "UPDATE batches SET checking_until = now() + interval '1 s'")
            yield piece
            told.append(lease_s(database))

    monkeypatch.setattr(batches, "pieces", slow)
    monkeypatch.setattr(batches, "RENEW_S", 0.0)
    lines = [line(f"c{number}").ljust(1023) for number in range(2 * CHUNK_BYTES // 1024)]

    assert create(caller, upload(caller, lines)).json["status"] == "in_progress"
    assert told == [pytest.approx(LEASE_S, abs=5)] * 2


def test_a_check_that_died_is_given_up_and_may_be_repeated(caller: Caller, database: Database, held: Held) -> None:
    """What comes of the first after all, because it was only slow, is nothing."""
    file_id = upload(caller, [line("a")])

    with held.creating(caller, file_id, "once") as reply:
        swept(database)
        alive = seen(caller)["status"]
        lapse(database)
        swept(database)
        lost = seen(caller)
        held.may_go.set()
        again = create(caller, file_id, key="once")

    assert alive == "validating"
    assert (lost["status"], lost["errors"]["data"][0]["code"]) == ("failed", "validation_interrupted")
    assert (again.status_code, again.json["status"]) == (200, "in_progress")
    assert "Idempotency-Replayed" not in again.headers
    assert (reply.result(WAIT_S).json["id"], reply.result(WAIT_S).json["status"]) == (lost["id"], "failed")
    assert [job["id"] for job in caller.get("/v1/jobs").json["data"]] == [again.json["job_id"]]


def test_a_batch_whose_lines_are_being_written_is_not_given_up(
    caller: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That may take longer than a lease: the row is locked."""

    items = Check.items

    def late(check: Check) -> Iterator[NewItem]:
        lapse(database)
        return items(check)

    def sweeping(*given: Any) -> Submitted:
        swept(database)
        return submit(*given)

    monkeypatch.setattr(Check, "items", late)
    monkeypatch.setattr("models.batches.submit", sweeping)

    assert create(caller, upload(caller, [line("a")])).json["status"] == "in_progress"


def test_a_check_of_a_release_without_leases_is_given_up_by_its_age(caller: Caller, database: Database) -> None:
    with database.session() as session:
        old, young = (open_batch(session, NewBatch("ten_default", "file_a", URL, "24h", DAY_S, {})) for _ in range(2))
    change(database, "UPDATE batches SET checking_until = NULL")
    change(database, "UPDATE batches SET created_at = now() - interval '16 min' WHERE id = :id", id=old)

    swept(database)

    status = [caller.get(f"/v1/batches/{batch_id}").json["status"] for batch_id in (old, young)]
    assert status == ["failed", "validating"]


def test_a_batch_that_ends_just_when_it_is_cancelled_has_ended(caller: Caller, database: Database) -> None:
    made = create(caller, upload(caller, [line("a")])).json
    hands = Hands(database, made["job_id"])
    hands.write([0])

    with ThreadPoolExecutor(1) as pool:
        with database.session() as session:
            assert finish(session, hands.ref, hands.claim.epoch)
            late = pool.submit(cancel, other(caller), made["id"])
            until_blocked(Registry(database))
        answer = late.result(WAIT_S)

    assert refusal(answer) == (400, "batch_not_cancellable", "it is completed")


def test_a_killed_process_leaves_a_batch_that_is_checked_again(database_url: str, secret: str, tmp_path: Path) -> None:
    """Killed in the middle of a real check; when its lease is over the same request is the first again."""
    lines = b"\n".join(line(f"c{number}") for number in range(20_000))
    key, once = {"Authorization": f"Bearer {secret}"}, {"Idempotency-Key": "once"}
    database = connect(database_url)

    with (
        (tmp_path / "log").open("wb") as output,
        serving(output, environment(database_url)) as (url, process),
        httpx.Client(base_url=url, headers=key, timeout=60) as client,
    ):
        wait_until_live(url)
        uploaded = client.post("/v1/files", data={"purpose": "batch"}, files={"file": ("input.jsonl", lines)})
        body = {"input_file_id": uploaded.json()["id"], "endpoint": URL, "completion_window": "24h"}

        def ask() -> httpx.Response:
            return client.post("/v1/batches", json=body, headers=once)

        with ThreadPoolExecutor(1) as pool:
            cut = pool.submit(ask)
            wait_until(lambda: is_checking(database))
            psutil.Process(process.pid).children()[0].kill()
            with pytest.raises(httpx.TransportError):
                cut.result(WAIT_S)
        wait_until_live(url)
        early = ask()
        lapse(database)
        swept(database)
        made = ask()
    database.close()

    assert (early.status_code, early.json()["error"]["code"]) == (409, "batch_being_checked")
    assert (made.status_code, made.json()["status"]) == (200, "in_progress")
    assert made.json()["request_counts"]["total"] == 20_000
