"""The output of batches among a tenant's files: how long it is there, and what a list of many does."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from itertools import count
from typing import Any

import pytest
from sqlalchemy.orm import Session

from api.rendering import lines
from api.routes import files
from api.wire import output_line
from models.database import Database
from models.errors import JobNotFound
from models.files import FileView, get_file, list_files
from models.items import ItemView
from models.jobs import JobView, find
from models.page import Page
from models.tables import Job
from models.tables.files import Part
from tests.integration.api.conftest import Caller
from tests.integration.api.test_batches import DAY_S, change, create, line, upload
from tests.integration.api.test_jobs import run


def end(caller: Caller, database: Database, **more: Any) -> dict[str, Any]:
    """A batch of one line that has been answered."""
    made = create(caller, upload(caller, [line("a")]), **more).json
    run(database, made["job_id"], 1)
    batch: dict[str, Any] = caller.get(f"/v1/batches/{made['id']}").json
    assert batch["status"] == "completed"
    return batch


def outputs(caller: Caller, **query: Any) -> dict[str, Any]:
    """A page of the files that batches left."""
    answer = caller.get("/v1/files", query_string={"purpose": "batch_output", **query})
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json
    return page


def ids(page: dict[str, Any]) -> list[str]:
    """Of its files."""
    return [file["id"] for file in page["data"]]


def test_a_file_that_goes_while_it_is_listed_is_left_out(
    caller: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, gone = end(caller, database), end(caller, database)

    monkeypatch.setattr(files, "list_files", erasing(database, gone["job_id"]))
    page = outputs(caller)

    assert ids(page) == [kept["output_file_id"]]
    assert page["data"][0]["bytes"] == len(caller.get(f"/v1/files/{kept['output_file_id']}/content").data)


def erasing(database: Database, job_id: str) -> Callable[..., Page[FileView]]:
    """The list of files; a job is gone just when it has been read."""

    def listed(*args: Any, **more: Any) -> Page[FileView]:
        page = list_files(*args, **more)
        change(database, "DELETE FROM jobs WHERE id = :id", id=job_id)
        return page

    return listed


def test_a_page_ends_where_measuring_takes_long(
    caller: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MEASURE_S", 0.0)
    made = [end(caller, database)["output_file_id"] for _ in range(3)]

    first = outputs(caller)
    second = outputs(caller, after=first["last_id"])
    third = outputs(caller, after=second["last_id"])

    assert [*ids(first), *ids(second), *ids(third)] == made[::-1]
    assert [page["has_more"] for page in (first, second, third)] == [True, True, False]


def long_output(caller: Caller, database: Database, num_lines: int = 5) -> dict[str, Any]:
    """A batch of some lines that have been answered."""
    made = create(caller, upload(caller, [line(f"c{number}") for number in range(num_lines)])).json
    run(database, made["job_id"], num_lines)
    batch: dict[str, Any] = caller.get(f"/v1/batches/{made['id']}").json
    return batch


def test_a_long_output_is_measured_in_parts(
    caller: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request takes longer than it may, and each goes on where the last one ended."""
    monkeypatch.setattr("api.results.ITEMS", 2)
    monkeypatch.setattr(files, "MEASURE_S", 0.0)
    file_id = long_output(caller, database)["output_file_id"]
    rendered: list[int] = []
    monkeypatch.setattr("api.rendering.output_line", counting(rendered))

    first = caller.get("/v1/files", query_string={"purpose": "batch_output"})
    second = caller.get(f"/v1/files/{file_id}")
    third, again = outputs(caller), outputs(caller)
    num_rendered = len(rendered)
    content = caller.get(f"/v1/files/{file_id}/content").data

    assert [(early.status_code, early.headers["Retry-After"]) for early in (first, second)] == [(503, "1")] * 2
    assert third == again
    assert (ids(third), third["data"][0]["bytes"]) == ([file_id], len(content))
    assert num_rendered == 5


def counting(rendered: list[int]) -> Callable[..., Any]:
    """Lines as they are; which items were made into one is noted."""

    def line_of(job: JobView, item: ItemView, endpoint: str) -> Any:
        rendered.append(item.index)
        return output_line(job, item, endpoint)

    return line_of


def test_a_page_ends_before_an_output_that_takes_long(
    caller: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three pages of items, each of which takes longer than the request has."""
    monkeypatch.setattr("api.results.ITEMS", 2)
    monkeypatch.setattr(files, "MEASURE_S", 0.2)
    long, short = long_output(caller, database), end(caller, database)
    monkeypatch.setattr("api.rendering.output_line", dawdling(long["job_id"], 0.15))

    page = outputs(caller)
    rest = {"purpose": "batch_output", "after": page["last_id"]}
    answers = [caller.get("/v1/files", query_string=rest) for _ in range(2)]

    assert (ids(page), page["has_more"]) == ([short["output_file_id"]], True)
    assert [answer.status_code for answer in answers] == [503, 200]
    assert ids(answers[1].json) == [long["output_file_id"]]


def dawdling(job_id: str, each_s: float) -> Callable[..., Any]:
    """Lines as they are; each of this job takes its time."""

    def line_of(job: JobView, item: ItemView, endpoint: str) -> Any:
        time.sleep(each_s if job.id == job_id else 0)
        return output_line(job, item, endpoint)

    return line_of


@pytest.mark.parametrize("num_read", [1, 2])
def test_an_output_of_a_job_erased_meanwhile_breaks_off(
    caller: Caller, database: Database, monkeypatch: pytest.MonkeyPatch, num_read: int
) -> None:
    """Erased after its job was found, before the page was read: what was sent must not pass for all of it."""
    monkeypatch.setattr("api.results.ITEMS", 2)
    batch = long_output(caller, database)
    with database.session() as session:
        file = get_file(session, "ten_default", batch["output_file_id"])
    assert file.job_id is not None
    monkeypatch.setattr("models.items.find", erasing_at(database, num_read))
    read: list[bytes] = []

    with pytest.raises(JobNotFound):
        read.extend(lines(database, "ten_default", file.job_id, Part.OUTPUT))

    assert caller.get(f"/v1/files/{file.id}").status_code == 404


def erasing_at(database: Database, number: int) -> Callable[..., Job]:
    """The job that is asked for; when it is for the time of this number, it is gone once it has been found."""
    times = count(1)

    def found(session: Session, tenant_id: str, job_id: str) -> Job:
        job = find(session, tenant_id, job_id)
        if next(times) == number:
            change(database, "DELETE FROM jobs WHERE id = :id", id=job_id)
        return job

    return found


@pytest.mark.parametrize(
    ("of_tenant", "asked", "of_file", "of_job"),
    [
        (None, None, 30 * DAY_S, 30 * DAY_S),
        (DAY_S, None, DAY_S, DAY_S),
        (DAY_S, 7200, 7200, DAY_S),
        (DAY_S, 7 * DAY_S, 7 * DAY_S, 7 * DAY_S),
        (None, 7200, 7200, 30 * DAY_S),
    ],
)
def test_an_output_is_kept_as_long_as_is_promised(
    caller: Caller, database: Database, of_tenant: int | None, asked: int | None, of_file: int, of_job: int
) -> None:
    change(database, "UPDATE tenants SET keep_s = :keep_s", keep_s=of_tenant)
    expiry = None if asked is None else {"anchor": "created_at", "seconds": asked}

    batch = end(caller, database, output_expires_after=expiry)
    file = caller.get(f"/v1/files/{batch['output_file_id']}").json
    job = caller.get(f"/v1/jobs/{batch['job_id']}").json

    assert file["expires_at"] - file["created_at"] == of_file
    assert kept_s(job) == of_job


def test_no_more_is_promised_than_the_job_lasts(caller: Caller, database: Database) -> None:
    """The tenant's retention was shortened while the batch ran."""
    made = create(caller, upload(caller, [line("a")]), output_expires_after={"anchor": "created_at", "seconds": DAY_S})
    change(database, "UPDATE tenants SET keep_s = 3600")
    run(database, made.json["job_id"], 1)

    file = outputs(caller)["data"][0]

    assert file["expires_at"] - file["created_at"] == 3600


def kept_s(job: dict[str, Any]) -> int:
    """How long after its end a job is there."""
    finished_at, delete_at = (datetime.fromisoformat(job[name]) for name in ("finished_at", "delete_at"))
    return round((delete_at - finished_at).total_seconds())
