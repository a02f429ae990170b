"""The output of batches among a tenant's files: how long it is there, and what a list of many does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from api.routes import files
from models.database import Database
from models.files import FileView, list_files
from models.page import Page
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
