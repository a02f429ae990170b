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
from models.searches import find_search
from models.states import Calibration, JobKind, Lane
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
from workers.search.logbook import Logbook
from workers.search.shard import is_elsewhere
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


def open_one(registry: Registry, max_trials: int) -> str:
    prompts = tuple({"prompt": f"prompt {number}"} for number in range(4))
    new = NewSearch("cpu", "1", "greedy", max_trials, None, True, 7, Calibration.INLINE, prompts)
    with registry.database.session() as session:
        return open_search(session, NewJob(TENANT, JobKind.SEARCH, MODEL, Lane.SEARCH), new).job_id


def take(registry: Registry, job_id: str) -> Claim:
    with registry.database.session() as session:
        claimed = claim(session, job_id, 0, "w_test", lease_s=60)
    assert claimed is not None
    return claimed


def carrier_of(
    registry: Registry, link: Link, text: Text, claimed: Claim, is_stopping: Callable[[], bool] = lambda: False
) -> SearchCarrier:
    with registry.database.session() as session:
        view = find_search(session, claimed.job_id)
    logbook = Logbook(Ledger(registry.database, claimed), view, "sha")
    return SearchCarrier(view, f"w_test.{claimed.epoch}", link, logbook, text, 512, is_stopping)


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
