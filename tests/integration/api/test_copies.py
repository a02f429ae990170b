"""Copies are served only while they are right: what changed is seen by every API process, listener or none.

Where a test could pass because a copy is old enough to be read again anyway, copies last an hour in it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from apiflask import APIFlask
from sqlalchemy import make_url, text

from api.app import create_app
from api.copies import Copies
from api.extension import EXTENSION
from api.news import News, Subscriber
from api.services import Services
from api.settings import Settings
from cli.stack.postgres import Postgres
from models.claim import claim
from models.database import Database, connect
from models.finish import finish
from models.notify import Change, notify
from models.record import ItemResult, record
from models.shard import ShardRef
from models.states import ItemStatus
from tests.integration.api.conftest import Caller, MakeCaller

FAILURE: Final = ItemResult(0, ItemStatus.FAILED, None, None, None, None, {"code": "c", "message": "m"})


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def hour(_: object) -> float:
    return 3600.0


@pytest.fixture
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies last an hour unless news takes them away."""
    for name in ("api.jobs.OPEN_S", "api.jobs.ENDED_S", "api.keys.KEPT_S"):
        monkeypatch.setattr(name, 3600.0)


@pytest.fixture
def far(database_url: str) -> Iterator[Database]:
    """The database as another process has it."""
    database = connect(database_url)
    yield database
    database.close()


@pytest.fixture
def other_app(app: APIFlask, settings: Settings) -> Iterator[APIFlask]:
    """A second API process, as far as the first can tell."""
    other = create_app(settings)
    found: Services = other.extensions[EXTENSION]
    yield other
    found.watcher.close()
    found.bell.close(timeout_s=0.05)
    found.database.close()


def warm(app: APIFlask, caller: Caller, path: str) -> Caller:
    """The same caller at this process, which listens and has a copy of what `path` answers."""
    here = Caller(app.test_client(), caller.secret)
    found: Services = app.extensions[EXTENSION]
    until(found.news.is_live)
    assert here.get(path).status_code == 200
    return here


@pytest.mark.usefixtures("lasting")
def test_a_revoked_key_is_refused_by_every_process(caller: Caller, other_app: APIFlask) -> None:
    made = caller.post("/v1/keys", {"name": "ci", "scopes": ["jobs"]}).json
    there = warm(other_app, Caller(caller.http, made["secret"]), "/v1/jobs")

    caller.send("DELETE", f"/v1/keys/{made['id']}")

    assert Caller(caller.http, made["secret"]).get("/v1/jobs").status_code == 401  # here, with no delay at all
    until(lambda: there.get("/v1/jobs").status_code == 401)


@pytest.mark.usefixtures("lasting")
def test_a_change_is_seen_by_every_process(app: APIFlask, caller: Caller, other_app: APIFlask) -> None:
    path = f"/v1/jobs/{caller.submit(2)['id']}"
    here, there = warm(app, caller, path), warm(other_app, caller, path)

    assert here.post(f"{path}/cancel").json["status"] == "cancelled"

    assert here.get(path).json["status"] == "cancelled"
    until(lambda: there.get(path).json["status"] == "cancelled")
    assert here.send("DELETE", path).status_code == 204
    assert here.get(path).status_code == 404
    until(lambda: there.get(path).status_code == 404)


def admit(database: Database, job_id: str) -> int:
    """Have the job's first item begin, in a claim that lasts; its epoch."""
    with database.session() as session:
        claimed = claim(session, job_id, 0, "w_test", lease_s=60)
    assert claimed is not None
    with database.session() as session:
        record(session, ShardRef(job_id, 0), claimed.epoch, [], admitted=[0])
    return claimed.epoch


@pytest.mark.usefixtures("lasting")
def test_that_a_job_begins_and_ends_is_seen(app: APIFlask, caller: Caller, far: Database) -> None:
    job_id = caller.submit(1)["id"]
    here = warm(app, caller, f"/v1/jobs/{job_id}")

    epoch = admit(far, job_id)
    until(lambda: bool(here.get(f"/v1/jobs/{job_id}").json["status"] == "running"))
    with far.session() as session:
        record(session, ShardRef(job_id, 0), epoch, [FAILURE])
    with far.session() as session:
        finish(session, ShardRef(job_id, 0), epoch)

    until(lambda: bool(here.get(f"/v1/jobs/{job_id}").json["counts"]["failed"] == 1))


@pytest.mark.usefixtures("lasting")
def test_items_that_come_further_cost_the_pollers_of_a_job_no_read(
    app: APIFlask, caller: Caller, far: Database
) -> None:
    job_id = caller.submit(2)["id"]
    path, heard = f"/v1/jobs/{job_id}", threading.Event()
    services: Services = app.extensions[EXTENSION]
    services.watcher._news.subscribe(
        Subscriber(lambda _, change: heard.set() if change is Change.PROGRESS else None, heard.clear)
    )
    here = warm(app, caller, path)
    epoch = admit(far, job_id)
    assert heard.wait(10)
    until(lambda: bool(here.get(path).json["status"] == "running"))
    seen = here.get(path).json["counts"]
    heard.clear()

    with far.session() as session:
        record(session, ShardRef(job_id, 0), epoch, [FAILURE])
    assert heard.wait(10)

    assert here.get(path).json["counts"] == seen


def test_items_that_come_further_are_seen_within_a_moment(
    app: APIFlask, caller: Caller, far: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.jobs.OPEN_S", 0.1)
    job_id = caller.submit(2)["id"]
    here = warm(app, caller, f"/v1/jobs/{job_id}")

    admit(far, job_id)

    until(lambda: bool(here.get(f"/v1/jobs/{job_id}").json["counts"]["running"] == 1))


@pytest.mark.usefixtures("lasting")
def test_another_tenants_job_is_not_there_however_warm(app: APIFlask, make_caller: MakeCaller) -> None:
    ours, theirs = make_caller("ten_a"), make_caller("ten_b")
    path = f"/v1/jobs/{ours.submit(1)['id']}"
    assert theirs.get(path).status_code == 404
    warm(app, ours, path)

    assert theirs.get(path).status_code == 404
    assert theirs.get(path, headers={"If-None-Match": ours.get(path).headers["ETag"]}).status_code == 404


@pytest.mark.usefixtures("lasting")
def test_without_a_listener_everything_is_read_anew(
    app: APIFlask, caller: Caller, far: Database, postgres_server: Postgres, database_url: str
) -> None:
    job_id = caller.submit(1)["id"]
    here = warm(app, caller, f"/v1/jobs/{job_id}")
    news: News = app.extensions[EXTENSION].news
    with far.session() as session, postgres_server.connect() as admin:  # both pools keep what is open
        session.execute(text("SELECT 1"))
        admin.execute(f'ALTER DATABASE "{make_url(database_url).database}" ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'skim-listen'")
        until(lambda: not news.is_live())
        claim(session, job_id, 0, "w_test", lease_s=60)
        session.commit()
        deaf = here.get(f"/v1/jobs/{job_id}").json["status"]
        admin.execute(f'ALTER DATABASE "{make_url(database_url).database}" ALLOW_CONNECTIONS true')

    until(news.is_live)

    assert (deaf, here.get(f"/v1/jobs/{job_id}").json["status"]) == ("running", "running")


@pytest.fixture
def news(far: Database) -> Iterator[News]:
    """Heard of by whoever subscribes before it is asked whether it is live."""
    news = News(far)
    yield news
    news.close()


@pytest.fixture
def copies(news: News) -> Copies[str]:
    """Two copies at most, of whatever the test reads."""
    copies: Copies[str] = Copies(news, 2)
    news.subscribe(Subscriber(lambda key, _: copies.forget(key), copies.clear))
    until(news.is_live)
    return copies


def test_what_changes_while_it_is_read_is_not_kept(copies: Copies[str], news: News, database_url: str) -> None:
    values, heard, writer = iter(["old", "new"]), threading.Event(), connect(database_url)
    news.subscribe(Subscriber(lambda *_: heard.set(), heard.clear))

    def load() -> str:
        value = next(values)
        with writer.session() as session:
            notify(session, "job_a")
        assert heard.wait(10)
        return value

    assert [copies.read("job_a", load, hour) for _ in range(2)] == ["old", "new"]
    writer.close()


def test_many_who_miss_at_once_are_one_read(copies: Copies[str]) -> None:
    loads: list[str] = []

    def load() -> str:
        time.sleep(0.1)
        loads.append("read")
        return "found"

    threads = [threading.Thread(target=copies.read, args=("job_a", load, hour)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert loads == ["read"]


def test_the_least_recently_used_goes(copies: Copies[str]) -> None:
    loads: list[str] = []

    def read(key: str) -> None:
        copies.read(key, lambda: loads.append(key) or key, hour)  # type: ignore[func-returns-value]

    for key in ("a", "b", "a", "c", "a", "b"):
        read(key)

    assert loads == ["a", "b", "c", "b"]


def test_what_nobody_is_served_any_more_takes_no_memory(news: News) -> None:
    copies: Copies[Answer] = Copies(news)
    until(news.is_live)
    kept = [weakref.ref(copies.read(str(number), Answer, lambda _: 0.05)) for number in range(20)]
    lasting = copies.read("lasting", Answer, hour)
    time.sleep(0.1)

    copies.read("another", Answer, hour)

    assert [one for one in kept if one() is not None] == []
    assert copies.read("lasting", Answer, hour) is lasting


class Answer:
    """What can be held weakly."""


def test_what_does_not_exist_takes_nobodys_place(copies: Copies[str]) -> None:
    def fail() -> str:
        raise LookupError

    for key in ("a", "b"):
        copies.read(key, lambda: "kept", hour)
    for key in ("c", "d", "e"):
        with pytest.raises(LookupError):
            copies.read(key, fail, hour)

    assert [copies.read(key, lambda: "read again", hour) for key in ("a", "b")] == ["kept", "kept"]
    assert copies.read("c", lambda: "there now", hour) == "there now"
