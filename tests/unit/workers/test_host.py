"""A search between the rounds of a real engine: the rows' texts stay, and its faults are its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from engine.loop import Engine, Options
from engine.request import Drafter, Failed, Request, Sampling
from engine.search.trial import Trial
from engine.skipset import SkipSet
from engine.stock import engine_for
from tests.tools.decoding import Outcome, expected
from tests.tools.families import network_of
from tests.tools.networks import tiny
from workers.search.host import SearchHost
from workers.wire.searches import SearchEnd, SearchEntry, SearchNews, SearchOrder, parse_trial

LAYERS = 4
OPTIONS = Options(rows=6, length=128)


def requests(count: int, tokens: int = 6) -> tuple[Request, ...]:
    return tuple(Request(str(i), (3 + i, 1, 4, 1, 5 + i, 9), tokens) for i in range(count))


ORDER = SearchOrder(
    "job/1",
    LAYERS,
    requests(4),
    requests(6)[4:],
    "1",
    max_trials=12,
    max_seconds=None,
    incumbent=None,
    spent={},
    trials=(),
    can_propose=False,
)


class Bench:
    """An engine and its host; records are confirmed at once."""

    def __init__(self) -> None:
        self.engine = Engine(tiny(LAYERS), OPTIONS, skip_set=SkipSet.of([2], [3]))
        self.host = SearchHost(self.engine, tiny(LAYERS), frozenset())
        self.told: list[Any] = []

    def start(self, order: SearchOrder = ORDER) -> None:
        self.told += self.host.start(order)

    def unit(self) -> None:
        for event in self.host.step():
            self.told.append(event)
            if isinstance(event, SearchEntry) and event.entry["do"] == "record":
                self.host.answer(event.id, {"do": "noted"})

    def finish(self) -> None:
        while self.host.is_ready:
            self.unit()

    @property
    def records(self) -> list[Trial]:
        entries = [one.entry for one in self.told if isinstance(one, SearchEntry)]
        return [parse_trial(entry) for entry in entries if entry["do"] == "record"]


def decode_beside(bench: Bench, asked: Sequence[Request]) -> Outcome:
    """Rounds, each followed by units, until all rows are done."""
    outcome = Outcome()
    for request in asked:
        bench.engine.submit(request)
    while not bench.engine.is_idle:
        outcome.take(bench.engine.step())
        for _ in range(4):
            bench.unit()
    return outcome


def test_texts_beside_a_search_are_the_full_networks_own() -> None:
    asked = [
        Request(f"{drafter}{i}", (i, 7, 7, 2, i), 40, Sampling(temperature=0.8 * i, seed=i), drafter=drafter)
        for i, drafter in enumerate((Drafter.AUTO, Drafter.SKIP, Drafter.LOOKUP, Drafter.CASCADE))
    ]
    bench = Bench()
    bench.start()

    outcome = decode_beside(bench, asked)

    assert bench.records  # it did search meanwhile
    assert {name: one.tokens for name, one in outcome.finished.items()} == expected(tiny(LAYERS), asked)


def test_a_search_ends_with_a_verdict_and_says_how_far_it_is() -> None:
    bench = Bench()
    bench.start()
    bench.finish()

    end = bench.told[-1]
    assert isinstance(end, SearchEnd)
    assert end.report["layers"] == LAYERS
    assert {"references", "costs", "scoring", "rescoring", "timing"} == set(end.report["device_seconds"])
    assert [len(end.report["losses"][half]) for half in ("attention", "mlp")] == [LAYERS] * 2
    assert {one["drafter"] for one in end.measurements["turns"]} >= {"plain", "lookup", "skip"}
    stages = [one.stage for one in bench.told if isinstance(one, SearchNews)]
    assert stages[-1] == "confirming"
    assert len(bench.records) > 2 * LAYERS  # each sub-layer alone, and none


@pytest.mark.parametrize("batch_class", ["2-4", "5+"])
def test_other_loads_are_timed_with_as_many_rows(batch_class: str) -> None:
    bench = Bench()
    bench.start(replace(ORDER, batch_class=batch_class, max_trials=3))
    bench.finish()

    assert isinstance(bench.told[-1], SearchEnd)


def test_costs_are_told_before_the_first_trial_and_price_all_that_follow() -> None:
    first, again = Bench(), Bench()
    first.start()
    first.finish()
    entries = [one.entry for one in first.told if isinstance(one, SearchEntry)]
    assert [one["do"] for one in entries].count("costs") == 1
    assert entries[0]["do"] == "costs"

    again.start(replace(ORDER, costs=entries[0]["costs"]))
    again.finish()

    assert {one.skip_set: one.speed for one in again.records} == {one.skip_set: one.speed for one in first.records}
    assert not [one for one in again.told if isinstance(one, SearchEntry) and one.entry["do"] == "costs"]


def test_a_helper_scores_what_it_is_given_as_the_search_itself_would() -> None:
    lead, helper = Bench(), Bench()
    lead.start()
    lead.finish()
    (costs,) = [one.entry["costs"] for one in lead.told if isinstance(one, SearchEntry) and "costs" in one.entry]
    wanted = lead.records[1:4]

    helper.start(replace(ORDER, costs=costs, is_shared=True, helps=True))
    for trial in wanted:
        while helper.told[-1:] != [SearchEntry("job/1", {"do": "help"})]:
            helper.unit()
        helper.told.clear()
        asked = {"bits": trial.skip_set.bits(LAYERS), "source": trial.source.value, "prompts": trial.prompts}
        helper.host.answer("job/1", {"do": "work", **asked})
        while not helper.records:
            helper.unit()
        assert helper.records == [trial]


def test_what_was_scored_before_is_not_scored_again() -> None:
    first, again = Bench(), Bench()
    first.start()
    while len(first.records) < 3:  # how many units costs take, timings decide
        first.unit()
    known = tuple(first.records)

    again.start(replace(ORDER, trials=known))
    again.finish()

    scored = {(one.skip_set, one.prompts) for one in again.records}
    assert not scored & {(one.skip_set, one.prompts) for one in known}
    assert isinstance(again.told[-1], SearchEnd)


def test_a_search_that_breaks_fails_alone() -> None:
    bench = Bench()
    beyond = Request("9", (1000, 1), 8)  # no such token: the network's embedding raises
    bench.start(replace(ORDER, scored=(beyond, *ORDER.scored)))
    asked = [Request("a", (1, 2, 3), 30)]

    outcome = decode_beside(bench, asked)
    bench.finish()

    (failed,) = [one for one in bench.told if isinstance(one, Failed)]
    assert (failed.id, failed.code) == ("job/1", "search_failed")
    assert outcome.finished["a"].tokens == expected(tiny(LAYERS), asked)["a"]
    bench.start(replace(ORDER, max_trials=2))
    bench.finish()
    assert isinstance(bench.told[-1], SearchEnd)


def test_a_search_gives_way_when_rows_lack_memory() -> None:
    bench = Bench()
    bench.start()
    bench.unit()
    assert bench.engine.relief.on_shortage is not None

    assert bench.engine.relief.on_shortage()
    bench.finish()

    assert bench.told[-1].code == "out_of_memory"
    assert not bench.engine.relief.on_shortage()


def test_a_plain_verdict_keeps_the_last_set_for_those_who_ask() -> None:
    bench = Bench()
    bits = SkipSet.of([1], [1]).bits(LAYERS)
    bench.host.swap({"1": {"id": "ss", "bits": bits, "share": 0.5, "acceptance": 0.9}, "2-4": None})
    first = decode_beside(bench, [Request("a", (1, 2), 20, drafter=Drafter.SKIP)])
    bench.host.swap({"1": None})
    asked = decode_beside(bench, [Request("b", (1, 2), 20, drafter=Drafter.SKIP)])
    auto = decode_beside(bench, [Request("c", (1, 2), 60)])

    seen = [one.statistics for outcome in (first, asked, auto) for one in outcome.finished.values()]
    assert [one.skip_set_id for one in seen] == ["ss", "ss", None]


def test_a_stopped_search_says_nothing_more() -> None:
    bench = Bench()
    bench.start()
    bench.unit()
    bench.host.stop("job/1")
    bench.told.clear()

    bench.finish()

    assert bench.told == []
    bench.start()
    assert bench.host.is_ready


def test_one_search_at_a_time() -> None:
    bench = Bench()
    bench.start()
    bench.start(replace(ORDER, id="job/2"))

    assert [(one.id, one.code) for one in bench.told] == [("job/2", "search_running")]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"held_out": (Request("9", (1,) * 120, 8),)}, "context_length_exceeded"),
        ({"held_out": ()}, "bad_request"),
        ({"max_trials": 0}, "bad_request"),
    ],
)
def test_orders_that_cannot_be_carried_out_are_refused(changes: dict[str, Any], code: str) -> None:
    bench = Bench()
    bench.start(replace(ORDER, **changes))

    assert [one.code for one in bench.told] == [code]
    assert not bench.host.is_ready


def test_networks_that_cannot_be_searched_are_refused() -> None:
    codes = []
    for network, rows in ((tiny(3), 6), (network_of("mamba"), 1), (tiny(LAYERS), 1)):
        options = replace(OPTIONS, rows=rows)
        host = SearchHost(engine_for(network, options), network, frozenset())
        codes += [one.code for one in host.start(replace(ORDER, batch_class="2-4")) if isinstance(one, Failed)]

    assert codes == ["too_few_layers", "search_unsupported", "too_few_rows"]
