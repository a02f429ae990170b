"""A shard on its way through an engine that repeats the prompt: what is written, and what is told on the way."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest

from engine.request import Event, Finished, Request
from models.claim import Claim, claim
from models.database import Database
from models.record import ItemResult
from models.states import JobKind
from tests.acceptance.workers.echo_engine import Echo
from tests.integration.workers.conftest import Registry
from tests.unit.workers.conftest import save_tokenizer
from workers.carrier import Carrier, Outcome
from workers.errors import EngineLost
from workers.item import workshop
from workers.lease import Signal
from workers.ledger import Ledger
from workers.stream import Chunk, Teller
from workers.text import Text
from workers.wire import Hello, Link, Server
from workers.wishes import Wishes

CONTEXT = 100
VOCABULARY = 259
HELLO = Hello("/nowhere", CONTEXT, "float32", "cpu", "cpu", 8, VOCABULARY, (256,))


@pytest.fixture
def text(tmp_path: Path) -> Text:
    return Text(save_tokenizer(tmp_path, None))


@contextmanager
def echoing(text: Text, tmp_path: Path, rows: int, context: int = CONTEXT) -> Iterator[Link]:
    """A connection to an echo engine in a thread."""
    hello = replace(HELLO, context_length=context)
    server = Server(Echo(text, rows=rows, length=context), hello, tmp_path / "engine.sock")
    thread = threading.Thread(target=server.run)
    thread.start()
    link = Link(tmp_path / "engine.sock", retry_s=0.01)
    assert link.wait(5) == hello
    yield link
    link.close()
    server.stop()
    thread.join(5)
    assert not thread.is_alive()


@pytest.fixture
def link(tmp_path: Path, text: Text) -> Iterator[Link]:
    with echoing(text, tmp_path, rows=8) as link:
        yield link


def take(registry: Registry, job_id: str) -> Claim:
    with registry.database.session() as session:
        claimed = claim(session, job_id, 0, "w_test", lease_s=60)
    assert claimed is not None
    return claimed


def carry(registry: Registry, link: Link, text: Text, claimed: Claim, told: list[Chunk]) -> Outcome:
    wishes = Wishes.of(claimed, VOCABULARY)
    teller = Teller(claimed.job_id, wishes.stops, text, told.append)
    carrier = Carrier(claimed, wishes, link, Ledger(registry.database, claimed), text, lambda: None, teller)
    return carrier.run(workshop(claimed, text, CONTEXT))


def test_choices_are_told_as_they_come_and_written_at_the_end(registry: Registry, link: Link, text: Text) -> None:
    parameters = {"max_tokens": 8, "seed": 1, "n": 2}
    job_id = registry.submit(2, shard_items=2, parameters=parameters, options={"stream": True})
    told: list[Chunk] = []

    assert carry(registry, link, text, take(registry, job_id), told) is Outcome.FINISH

    outputs = ["item 0it", "item 1it"]
    rows = registry.rows("SELECT output, choices, usage FROM items ORDER BY index")
    assert [row.output for row in rows] == outputs
    assert [[choice["output"] for choice in row.choices] for row in rows] == [[output] * 2 for output in outputs]
    assert {(row.usage["prompt_tokens"], row.usage["completion_tokens"]) for row in rows} == {(6, 16)}
    told.sort(key=lambda chunk: (chunk.index, chunk.choice))  # stable: those of a choice stay in order
    for (index, _), chunks in groupby(told, key=lambda chunk: (chunk.index, chunk.choice)):
        pieces = list(chunks)
        assert "".join(piece.text for piece in pieces) == outputs[index]
        assert [(piece.start, piece.offset) for piece in pieces] == [(at, at) for at in range(9)]
        assert [piece.finish_reason for piece in pieces] == [None] * 8 + ["length"]


class Counting(Ledger):
    """A ledger that remembers what it was asked to write together."""

    def __init__(self, database: Database, claimed: Claim) -> None:
        super().__init__(database, claimed)
        self.written: list[tuple[list[int], list[int]]] = []

    def note(self, admitted: Sequence[int], results: Sequence[ItemResult]) -> None:
        super().note(admitted, results)
        self.written.append((list(admitted), [result.index for result in results]))


def test_results_of_bulk_work_are_written_with_the_next_admission(
    registry: Registry, text: Text, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row: an item ends, the next one enters. Each transaction costs the device a moment where they share cores."""
    monkeypatch.setattr("workers.carrier.LINGER_S", 60.0)
    claimed = take(registry, registry.submit(4, shard_items=4))
    ledger = Counting(registry.database, claimed)
    with echoing(text, tmp_path, rows=1) as link:
        carrier = Carrier(claimed, Wishes.of(claimed, VOCABULARY), link, ledger, text, lambda: None)

        assert carrier.run(workshop(claimed, text, CONTEXT)) is Outcome.FINISH

    assert [index for _, results in ledger.written for index in results] == [0, 1, 2, 3]
    assert all(admitted for admitted, _ in ledger.written[:-1])
    assert registry.rows("SELECT DISTINCT status FROM items") == [("succeeded",)]


LONG_CONTEXT = 600


def test_an_item_that_asks_for_more_when_its_job_was_cancelled_is_stopped(
    registry: Registry, text: Text, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts of a document end just after the cancellation is heard, and the next level begins with them."""
    job_id = registry.submit(kind=JobKind.SUMMARIZE, parameters={"max_tokens": 100, "seed": 1})
    registry.rows(
        "UPDATE items SET input = jsonb_build_object('document', repeat('Some words. ', 100)) RETURNING index"
    )
    claimed = take(registry, job_id)
    asked: list[str] = []
    with echoing(text, tmp_path, rows=8, context=LONG_CONTEXT) as link:
        carrier = Carrier(
            claimed, Wishes.of(claimed, VOCABULARY), link, Ledger(registry.database, claimed), text, lambda: None
        )
        submit = link.submit

        def cancel_at_the_end(request: Request, hear: Callable[[Event | EngineLost], None]) -> None:
            def hear_too_late(event: Event | EngineLost) -> None:
                if isinstance(event, Finished):
                    carrier.hear(Signal.CANCELLED)
                hear(event)

            asked.append(request.id)
            submit(request, hear_too_late)

        monkeypatch.setattr(link, "submit", cancel_at_the_end)

        assert carrier.run(workshop(claimed, text, LONG_CONTEXT)) is Outcome.FINISH

    [item] = registry.rows("SELECT status, output, (usage ->> 'completion_tokens')::int AS num FROM items")
    assert (item.status, item.output) == ("cancelled", None)
    assert len(asked) > 2  # the parts, and the whole that was called back
    assert item.num < len(asked) * 100


def test_a_token_the_model_lacks_fails_every_item_and_nothing_is_asked(
    registry: Registry, link: Link, text: Text
) -> None:
    parameters = {"max_tokens": 4, "seed": 1, "stop_token_ids": [VOCABULARY]}
    job_id = registry.submit(2, shard_items=2, parameters=parameters)

    assert carry(registry, link, text, take(registry, job_id), []) is Outcome.FINISH

    rows = registry.rows("SELECT status, attempts, error ->> 'code' FROM items")
    assert rows == [("failed", 0, "token_out_of_range")] * 2


REFUSING = "{{ raise_exception('only poems') }}"


@pytest.mark.parametrize(
    ("kind", "options", "code"),
    [
        (JobKind.GENERATE, {}, "bad_messages"),
        (JobKind.SUMMARIZE, {"style": "headline"}, "bad_messages"),
        (JobKind.SUMMARIZE, {"style": "of a later release"}, "internal_error"),
    ],
)
def test_what_cannot_be_prepared_fails_every_item(
    registry: Registry, link: Link, tmp_path: Path, kind: JobKind, options: dict[str, str], code: str
) -> None:
    """Nothing was admitted, so nothing but a result would ever end it."""
    text = Text(save_tokenizer(tmp_path / "refusing", REFUSING))
    job_id = registry.submit(2, shard_items=2, kind=kind, options=options)
    registry.rows(
        """UPDATE items SET input = '{"messages": [{"role": "user", "content": "item"}]}' WHERE input ? 'prompt'
        RETURNING index"""
    )

    assert carry(registry, link, text, take(registry, job_id), []) is Outcome.FINISH

    assert registry.rows("SELECT status, attempts, error ->> 'code' FROM items") == [("failed", 0, code)] * 2


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (JobKind.GENERATE, '{"prompt": "item", "place": "nowhere"}'),
        (JobKind.GENERATE, '{"prompt": "item", "parameters": {"max_tokens": "many"}}'),
        (JobKind.SUMMARIZE, "{}"),
    ],
)
def test_an_item_that_cannot_be_prepared_fails_alone(
    registry: Registry, link: Link, text: Text, kind: JobKind, bad: str
) -> None:
    job_id = registry.submit(3, shard_items=3, kind=kind)
    registry.rows("UPDATE items SET input = CAST(:bad AS jsonb) WHERE index = 1 RETURNING index", bad=bad)

    assert carry(registry, link, text, take(registry, job_id), []) is Outcome.FINISH

    rows = registry.rows("SELECT status, error ->> 'code' FROM items ORDER BY index")
    assert rows == [("succeeded", None), ("failed", "internal_error"), ("succeeded", None)]


def test_a_drafter_of_a_later_release_fails_every_item(registry: Registry, link: Link, text: Text) -> None:
    job_id = registry.submit(2, shard_items=2, decoding={"drafter": "oracle"})

    assert carry(registry, link, text, take(registry, job_id), []) is Outcome.FINISH

    assert registry.rows("SELECT DISTINCT status, error ->> 'code' FROM items") == [("failed", "internal_error")]
