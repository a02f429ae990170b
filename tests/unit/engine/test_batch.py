"""Who is in the batch and where: slots stay compact and hold what their rows wrote, through every coming and going."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engine.batch import Batch
from engine.cache import CacheShape, SlotCache
from engine.errors import BadRequest
from engine.loop import Engine, Options
from engine.request import Request
from engine.row import Row
from tests.tools.networks import tiny

LENGTH = 64
SHARED = tuple(range(40))


def batch_of(slots: int) -> Batch:
    shape = CacheShape(layers=2, kv_heads=1, head_dim=1, slots=slots, length=LENGTH)
    return Batch(SlotCache(shape, torch.float64, torch.device("cpu")))


def row_of(
    identity: str,
    prompt: tuple[int, ...] = (1, 2, 3),
    *,
    reproducible: bool = False,
    interactive: bool = False,
    alone: bool = False,
) -> Row:
    request = Request(identity, prompt, 4, reproducible=reproducible, interactive=interactive, alone=alone)
    return Row(request, frozenset(), None)


def mark(token: int, column: int) -> float:
    """What these tests write in the place of a key: it tells the token and where it stands."""
    return float(token * 1000 + column + 1)


def write(batch: Batch, row: Row, count: int) -> None:
    """Play a pass that writes the keys of a row's next tokens."""
    slot = batch.rows.index(row)
    for column in range(row.length, row.length + count):
        for tensor in (*batch._cache.keys, *batch._cache.values):
            tensor[slot, 0, column, 0] = mark(row.tokens[column], column)
    row.length += count


def assert_slots_hold_their_rows(batch: Batch) -> None:
    for slot, row in enumerate(batch.rows):
        wanted = [mark(token, column) for column, token in enumerate(row.tokens[: row.length])]
        for tensor in (*batch._cache.keys, *batch._cache.values):
            assert tensor[slot, 0, : row.length, 0].tolist() == wanted


class Traffic(RuleBasedStateMachine):
    """Rows come, prefill, decode, are parked and leave in any order."""

    @initialize(slots=st.integers(1, 9))
    def start(self, slots: int) -> None:
        self.slots = slots
        self.batch = batch_of(slots)
        self.count = 0
        self.first_admissions: list[Row] = []

    @rule(
        size=st.integers(1, 50),
        is_shared=st.booleans(),
        kind=st.sampled_from(("bulk", "bulk", "interactive", "alone", "reproducible")),
    )
    def come(self, size: int, is_shared: bool, kind: str) -> None:
        self.count += 1
        own = tuple(50 + (self.count * 7 + step) % 50 for step in range(size))
        prompt = (SHARED + own)[:size] if is_shared else own
        self.batch.enqueue(row_of(str(self.count), prompt, **({} if kind == "bulk" else {kind: True})))
        self.admit()

    def admit(self) -> None:
        self.first_admissions += self.batch.admit()

    @precondition(lambda self: self.batch.prefilling)
    @rule(which=st.integers(0, 8))
    def prefill(self, which: int) -> None:
        row = self.batch.prefilling[which % len(self.batch.prefilling)]
        self.batch.share_prefix(row)
        write(self.batch, row, min(row.num_unwritten, 16))
        if not row.is_prefilling:
            self.batch.start(row)

    @precondition(lambda self: self.batch.decoding)
    @rule(token=st.integers(0, 99))
    def decode(self, token: int) -> None:
        for row in self.batch.decoding:
            if row.tokens_left and len(row.tokens) < LENGTH:
                write(self.batch, row, 1)
                row.take([token])

    @precondition(lambda self: self.batch.rows)
    @rule(which=st.integers(0, 8))
    def leave(self, which: int) -> None:
        self.batch.retire(self.batch.rows[which % len(self.batch.rows)])
        self.admit()

    @precondition(lambda self: self.count)
    @rule(which=st.integers(0, 60))
    def withdraw(self, which: int) -> None:
        identity = str(1 + which % self.count)

        row = self.batch.withdraw(identity)

        assert row is None or row.request.id == identity
        assert self.batch.withdraw(identity) is None

    @invariant()
    def slots_hold_their_rows(self) -> None:
        assert_slots_hold_their_rows(self.batch)

    @invariant()
    def decoding_rows_come_first(self) -> None:
        kinds = [row.is_prefilling for row in self.batch.rows]
        assert kinds == sorted(kinds)
        assert self.batch.decoding + self.batch.prefilling == self.batch.rows

    @invariant()
    def nobody_is_there_twice(self) -> None:
        assert len({id(row) for row in self.batch.rows}) == len(self.batch.rows) <= self.slots
        assert len({row.request.id for row in self.first_admissions}) == len(self.first_admissions)

    @invariant()
    def who_asked_to_be_alone_is(self) -> None:
        assert len(self.batch.rows) <= 1 or not any(row.request.alone for row in self.batch.rows)

    @invariant()
    def a_slot_is_left_for_interactive_rows(self) -> None:
        bulk = [row for row in self.batch.rows if not (row.request.interactive or row.request.alone)]
        assert len(bulk) <= max(1, self.slots - max(1, self.slots // 8))


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=60, stateful_step_count=40)


def test_a_row_that_overtakes_a_longer_one_leaves_it_whole() -> None:
    batch = batch_of(3)
    long, short = row_of("long", SHARED), row_of("short", interactive=True)
    batch.enqueue(long)
    batch.admit()
    write(batch, long, 30)
    batch.enqueue(short)
    batch.admit()
    write(batch, short, 2)

    batch.start(short)

    assert batch.rows == [short, long]
    assert_slots_hold_their_rows(batch)


def ids(rows: list[Row]) -> list[str]:
    return [row.request.id for row in rows]


@pytest.mark.parametrize(("slots", "bulk"), [(1, 1), (2, 1), (8, 7), (16, 14), (24, 21)])
def test_how_many_slots_bulk_may_have(slots: int, bulk: int) -> None:
    batch = batch_of(slots)
    for number in range(slots):
        batch.enqueue(row_of(str(number)))

    assert len(batch.admit()) == bulk
    assert batch.num_waiting == slots - bulk


def test_the_youngest_bulk_row_makes_room() -> None:
    batch = batch_of(3)
    for name in ("old", "young"):
        batch.enqueue(row_of(name))
    batch.admit()
    young = batch.rows[1]
    write(batch, young, 2)
    for name in ("first", "second"):
        batch.enqueue(row_of(name, interactive=True))

    fresh = batch.admit()

    assert ids(fresh) == ["first", "second"]
    assert sorted(ids(batch.rows)) == ["first", "old", "second"]
    assert (young.length, young.tokens, batch.num_waiting) == (0, [1, 2, 3], 1)
    batch.withdraw("first")
    assert batch.admit() == []  # back, but not for the first time
    assert "young" in ids(batch.rows)


def test_a_reproducible_row_is_never_parked() -> None:
    batch = batch_of(2)
    batch.enqueue(row_of("kept", reproducible=True))
    batch.enqueue(row_of("first", interactive=True))
    batch.admit()
    batch.enqueue(row_of("second", interactive=True))

    assert batch.admit() == []
    assert sorted(ids(batch.rows)) == ["first", "kept"]


def test_alone_waits_for_an_empty_batch_and_bulk_for_it() -> None:
    batch = batch_of(4)
    batch.enqueue(row_of("before"))
    batch.admit()
    batch.enqueue(row_of("suspect", alone=True))
    batch.enqueue(row_of("after"))

    assert batch.admit() == []
    batch.withdraw("before")
    assert ids(batch.admit()) == ["suspect"]
    batch.enqueue(row_of("urgent", interactive=True))
    assert batch.admit() == []
    batch.withdraw("suspect")
    assert sorted(ids(batch.admit())) == ["after", "urgent"]


@pytest.mark.parametrize(("slots", "alone"), [(1, False), (1, True), (4, True)])
def test_nobody_starves_without_a_slot_of_its_own(slots: int, alone: bool) -> None:
    """However many interactive rows come, two for each that goes."""
    batch = batch_of(slots)
    batch.enqueue(row_of("patient", alone=alone))
    order: list[str] = []
    for number in range(30):
        batch.enqueue(row_of(f"urgent {number}", interactive=True))
        batch.enqueue(row_of(f"urgent {number} too", interactive=True))
        batch.admit()
        order.append(batch.rows[0].request.id)
        batch.withdraw(order[-1])

    assert order.index("patient") == 8


def test_bulk_work_on_the_only_slot_keeps_its_turn() -> None:
    batch = batch_of(1)
    batch.enqueue(row_of("patient"))
    for number in range(10):
        batch.enqueue(row_of(f"urgent {number}", interactive=True))
    for number in range(8):
        assert ids(batch.admit()) == [f"urgent {number}"]
        batch.withdraw(f"urgent {number}")

    assert ids(batch.admit()) == ["patient"]
    assert batch.admit() == []
    batch.withdraw("patient")
    assert ids(batch.admit()) == ["urgent 8"]


def test_who_is_owed_a_turn_and_leaves_holds_nobody_up() -> None:
    batch = batch_of(1)
    batch.enqueue(row_of("patient"))
    for number in range(9):
        batch.enqueue(row_of(f"urgent {number}", interactive=True))
    for number in range(8):
        batch.admit()
        batch.withdraw(f"urgent {number}")
    batch.withdraw("patient")

    assert ids(batch.admit()) == ["urgent 8"]


@pytest.mark.parametrize(("common", "copied"), [(15, 0), (16, 16), (30, 30)])
def test_a_common_prefix_is_copied(common: int, copied: int) -> None:
    batch = batch_of(4)
    donor, taker = row_of("donor", SHARED), row_of("taker", (*SHARED[:common], 99, 98, 97))
    batch.enqueue(donor)
    batch.enqueue(taker)
    batch.admit()
    write(batch, donor, 35)

    batch.share_prefix(taker)

    assert taker.length == copied
    assert_slots_hold_their_rows(batch)


def test_one_token_is_left_to_prefill() -> None:
    """The row has to pass through prefill to take its place among the decoding ones."""
    batch = batch_of(4)
    donor, taker = row_of("donor", SHARED), row_of("taker", SHARED[:30])
    batch.enqueue(donor)
    batch.enqueue(taker)
    batch.admit()
    write(batch, donor, 39)

    batch.share_prefix(taker)

    assert (taker.length, taker.num_unwritten) == (28, 1)


def test_a_reproducible_row_takes_no_copy() -> None:
    batch = batch_of(4)
    donor, taker = row_of("donor", SHARED), row_of("taker", SHARED, reproducible=True)
    batch.enqueue(donor)
    batch.enqueue(taker)
    batch.admit()
    write(batch, donor, 35)

    batch.share_prefix(taker)

    assert taker.length == 0


@pytest.mark.parametrize("identity", ["live", "waiting"])
def test_an_id_is_taken_while_its_row_is_here(identity: str) -> None:
    engine = Engine(tiny(), Options(rows=1, length=64))
    engine.submit(Request("live", (1, 2, 3), 4))
    engine.step()
    engine.submit(Request("waiting", (1, 2, 3), 4))

    with pytest.raises(BadRequest, match="already"):
        engine.submit(Request(identity, (1, 2, 3), 4))
