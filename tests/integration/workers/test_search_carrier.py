"""The shard of a search between a real optimiser's process, the registry and an engine that only pretends to search."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text as sql

from models.claim import Claim, claim
from models.opening import NewSearch, open_search
from models.record import ItemResult, record
from models.searches import find_search
from models.shard import ShardRef
from models.sharing import LEAD
from models.states import Calibration, ItemStatus, JobKind, Lane
from models.submit import NewJob
from tests.acceptance.workers.echo_engine import Echo
from tests.integration.workers.conftest import MODEL, TENANT, Registry
from tests.tools.seeking import Seeker
from tests.unit.workers.conftest import save_tokenizer
from workers.carrier import Outcome
from workers.lease import Signal
from workers.ledger import Ledger
from workers.node import Node
from workers.search.carrier import SearchCarrier
from workers.search.helper import ABSENT_S, HelperCarrier
from workers.search.logbook import Logbook
from workers.search.optimiser import StudyNotebook, open_study
from workers.search.owner import Owner
from workers.search.shard import is_elsewhere
from workers.search.storage import open_storage
from workers.settings import NodeSettings
from workers.text import Text
from workers.wire import Hello, Link, Server

HELLO = Hello("/nowhere", 512, "float32", "cpu", "cpu", 8, 259, (256,))
PLACE = NodeSettings(Path("/nowhere"), MODEL, "w_test", None, "float32", "cpu", "sha")


@pytest.fixture
def text(tmp_path: Path) -> Text:
    return Text(save_tokenizer(tmp_path, None))


@pytest.fixture
def seeker() -> Seeker:
    return Seeker()


@pytest.fixture
def link(tmp_path: Path, text: Text, seeker: Seeker) -> Iterator[Link]:
    server = Server(Echo(text, rows=8, length=512), HELLO, tmp_path / "engine.sock", searches=seeker)
    thread = threading.Thread(target=server.run)
    thread.start()
    link = Link(tmp_path / "engine.sock", retry_s=0.01)
    assert link.wait(5) == HELLO
    yield link
    link.close()
    server.stop()
    thread.join(5)


def open_one(registry: Registry, max_trials: int, workers: int = 1) -> str:
    prompts = tuple({"prompt": f"prompt {number}"} for number in range(4))
    new = NewSearch("cpu", "1", "greedy", max_trials, None, True, 7, Calibration.INLINE, prompts, workers)
    with registry.database.session() as session:
        return open_search(session, NewJob(TENANT, JobKind.SEARCH, MODEL, Lane.SEARCH), new).job_id


def take(registry: Registry, job_id: str, number: int = LEAD) -> Claim:
    with registry.database.session() as session:
        claimed = claim(session, job_id, number, "w_test", lease_s=60)
    assert claimed is not None
    return claimed


def carrier_of(
    registry: Registry, link: Link, text: Text, claimed: Claim, is_stopping: Callable[[], bool] = lambda: False
) -> SearchCarrier:
    with registry.database.session() as session:
        view = find_search(session, claimed.job_id)
    logbook = Logbook(Ledger(registry.database, claimed), view, "sha", claimed.number)
    kind = SearchCarrier if claimed.number == LEAD else HelperCarrier
    return kind(view, str(Owner.of(claimed)), link, logbook, text, 512, is_stopping)


@pytest.fixture(autouse=True)
def environment(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimiser's process is told the database so."""
    monkeypatch.setenv("SKIM_DATABASE_URL", registry.url)


def test_a_verdict_is_written_with_its_item(registry: Registry, link: Link, text: Text, seeker: Seeker) -> None:
    job_id = open_one(registry, 3)

    assert carrier_of(registry, link, text, take(registry, job_id)).run() is Outcome.FINISH

    (item,) = registry.rows("SELECT status, output, attempts FROM items")
    (search,) = registry.rows("SELECT outcome, phase, num_trials, report, weights FROM searches")
    assert (item.status, item.attempts) == ("succeeded", 1)
    assert item.output.startswith("plain decoding is best")
    assert (search.outcome, search.phase, search.num_trials, search.weights) == ("plain", "warm", 2, "sha")
    assert search.report == {"layers": 1}


@pytest.mark.parametrize("end", ["stop", Signal.CANCELLED, Signal.LOST, "engine"])
def test_a_search_is_given_up_at_once(
    registry: Registry, link: Link, text: Text, seeker: Seeker, end: str | Signal
) -> None:
    claimed = take(registry, open_one(registry, 1_000_000))
    stopping = threading.Event()
    carrier = carrier_of(registry, link, text, claimed, stopping.is_set)
    ends: list[tuple[Outcome, float]] = []
    thread = threading.Thread(target=lambda: ends.append((carrier.run(), time.monotonic())))
    thread.start()
    while not seeker.orders:
        time.sleep(0.01)
    began = time.monotonic()
    if isinstance(end, Signal):
        carrier.hear(end)
    elif end == "engine":
        link.close()
    else:
        stopping.set()
    thread.join(10)

    expected = {"stop": Outcome.RELEASE, Signal.CANCELLED: Outcome.FINISH, Signal.LOST: Outcome.ABANDON}
    assert ends[0][0] is expected.get(end, Outcome.LOST)
    assert ends[0][1] - began < 4  # the optimiser's end included
    while seeker.orders:
        time.sleep(0.01)
    (item,) = registry.rows("SELECT status FROM items")
    assert item.status == ("cancelled" if end is Signal.CANCELLED else "running")


def lead_over(registry: Registry, lead: Claim, status: ItemStatus) -> None:
    """The lead's item has ended."""
    error = {"code": "out_of_memory", "message": "no room"} if status is ItemStatus.FAILED else None
    with registry.database.session() as session:
        ended = ItemResult(LEAD, status, None, None, None, None, error)
        record(session, ShardRef(lead.job_id, LEAD), lead.epoch, [ended])


@pytest.mark.parametrize("status", [ItemStatus.SUCCEEDED, ItemStatus.FAILED])
def test_a_helper_begins_when_costs_are_known_and_ends_as_the_lead_does(
    registry: Registry, link: Link, text: Text, seeker: Seeker, status: ItemStatus
) -> None:
    job_id = open_one(registry, 1_000_000, workers=2)
    lead, helper = take(registry, job_id), take(registry, job_id, 1)
    carrier, outcomes = carrier_of(registry, link, text, helper), list[Outcome]()
    thread = threading.Thread(target=lambda: outcomes.append(carrier.run()))
    thread.start()
    storage = open_storage(registry.url)
    while not registry.rows("SELECT 1 FROM optuna.studies WHERE study_name = :job", job=job_id):
        time.sleep(0.05)
    time.sleep(0.5)
    assert not seeker.orders

    StudyNotebook(open_study(storage, job_id), 1, "lead").price({"parts": []})
    storage.remove_session()
    storage.engine.dispose()
    while not seeker.orders:
        time.sleep(0.01)
    (order,) = seeker.orders.values()
    assert (order.helps, order.is_shared, order.costs, order.spent) == (True, True, {"parts": []}, {})
    lead_over(registry, lead, status)
    thread.join(10)

    assert outcomes == [Outcome.FINISH]
    (item,) = registry.rows("SELECT status, output, error FROM items WHERE index = 1")
    helped = status is ItemStatus.SUCCEEDED
    assert (item.status, item.output) == (status.value, "helped: scored 0 sets" if helped else None)
    assert item.error == (None if helped else {"code": "out_of_memory", "message": "no room"})
    assert registry.rows("SELECT outcome, phase FROM searches") == [(None, None)]  # that is the lead's to say


def test_a_helper_gives_up_when_nobody_leads(registry: Registry, link: Link, text: Text) -> None:
    job_id = open_one(registry, 1_000_000, workers=2)
    take(registry, job_id)
    carrier = carrier_of(registry, link, text, take(registry, job_id, 1))
    registry.rows("UPDATE shards SET lease_expires_at = now() WHERE number = 0 RETURNING 1")

    began = time.monotonic()

    assert carrier.run() is Outcome.RELEASE
    assert ABSENT_S < time.monotonic() - began < ABSENT_S + 5  # the optimiser's end included


def test_a_search_of_other_weights_is_left_to_others(registry: Registry) -> None:
    job_id = open_one(registry, 3)

    def node(place: NodeSettings) -> Node:
        return cast(Node, SimpleNamespace(database=registry.database, place=place))

    seen = [
        is_elsewhere(node(place), job_id)
        for place in (PLACE, replace(PLACE, dtype="float16"), replace(PLACE, revision="other"))
    ]
    with registry.database.session() as session:
        session.execute(sql("UPDATE models SET revision = 'new'"))

    assert seen == [False, True, True]
    assert not is_elsewhere(node(PLACE), job_id)  # nobody has them any more: it is claimed, to fail
    other: Any = registry.submit()
    assert not is_elsewhere(node(PLACE), other)
