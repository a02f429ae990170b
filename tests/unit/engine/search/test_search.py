"""Whole searches on small planted networks: what they find, what they refuse, where they stop."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

import pytest
import torch
from transformers import PreTrainedModel

from bench.decoys import NO_DECOYS, Decoys
from bench.planted import Planted, plant, prompts_of
from bench.weights import shape
from engine.cache import CacheShape, SlotCache
from engine.errors import BadRequest, Unsupported
from engine.request import Drafter, Request
from engine.search.costs import DeviceCosts, Load
from engine.search.finalists import Contender, Outcome
from engine.search.memory import Memory
from engine.search.meter import Meter
from engine.search.objective import Objective, best_length
from engine.search.reference import References
from engine.search.search import Budget, Calibration, Search, Settings, check
from engine.search.steps import Steps, drain
from engine.search.trial import Notebook, Source, Trial
from engine.search.units import union
from engine.skipset import SkipSet
from tests.tools.families import network_of
from tests.tools.networks import tiny

LAYERS = 8
CONFIG = shape(LAYERS, 64, 128, 4, 2, 256)
DECOYS = Decoys(cancelling=((1, 6),), redundant=((2, 5),))
PLANTED = SkipSet.of([1, 2, 4, 6], [3])
BEST = union([PLANTED, SkipSet.of((), [1, 6, 2])])
COSTS = DeviceCosts(LAYERS, 0.4 / LAYERS, 0.5 / LAYERS, 0.1, ((1, 1.0), (7, 1.15)))
LOAD = Load.of(COSTS)


@cache
def planted(decoys: Decoys = NO_DECOYS) -> Planted:
    return plant(CONFIG, PLANTED, 0.95, seed=1, decoys=decoys, rows=8, tokens=48, dtype=torch.float32)


def requests(count: int, seed: int = 0, tokens: int = 64) -> list[Request]:
    return [Request(str(i), tuple(prompt), tokens) for i, prompt in enumerate(prompts_of(CONFIG, count, 12, seed))]


def search_of(
    network: Planted,
    *,
    notebook: Notebook | None = None,
    incumbent: SkipSet | None = None,
    budget: Budget | None = None,
    time_contender: Callable[[Contender], Steps[float]] | None = None,
    load: Load = LOAD,
) -> Search:
    meter = Meter(network.network.device)
    slots = SlotCache(CacheShape.of(network.network, 12, 160), torch.float32, network.network.device)
    references = References(network.network, slots, range(12), frozenset(), meter)
    return Search(
        network.network,
        references,
        Objective(network.network, references, load, 6, meter),
        Calibration(requests(8), requests(4, seed=1)),
        Memory() if notebook is None else notebook,
        meter,
        time_contender=time_contender,
        incumbent=incumbent,
        budget=budget or Budget(),
        settings=Settings(few=2, timed_rounds=3),
    )


def finish(search: Search) -> Search:
    while search.step():
        pass
    return search


class Judge:
    """True speeds: exact tables on prompts that no search sees."""

    def __init__(self, network: PreTrainedModel) -> None:
        meter = Meter(network.device)
        slots = SlotCache(CacheShape.of(network, 8, 160), torch.float32, network.device)
        references = References(network, slots, range(8), frozenset(), meter)
        self._texts = drain(references.write(requests(8, seed=2)))
        self._objective = Objective(network, references, LOAD, 6, meter)

    def speed(self, skip_set: SkipSet) -> float:
        return best_length(drain(self._objective.tables(skip_set, self._texts)), skip_set, LOAD).speed


def test_a_planted_set_is_found_past_its_decoys() -> None:
    network = planted(DECOYS)

    search = finish(search_of(network))

    assert search.verdict is not None and search.verdict.finalist is not None
    judge = Judge(network.network)
    best = judge.speed(BEST)
    assert judge.speed(search.verdict.finalist.skip_set) >= 0.98 * best
    assert max(judge.speed(one) for one in _by_leave_one_out(search)) < 0.98 * best


def _by_leave_one_out(search: Search) -> list[SkipSet]:
    """The sets that leaving one out alone suggests: the most harmless, then the two most harmless, and so on."""
    alone = [trial for trial in search.trials.values() if trial.source is Source.LEAVE_ONE_OUT]
    ranked = [trial.skip_set for trial in sorted(alone, key=lambda trial: trial.loss)]
    return [union(ranked[:count]) for count in range(2, len(ranked), 2)]


def test_a_search_goes_on_from_its_notebook_without_a_pass() -> None:
    notebook = Memory()
    first = finish(search_of(planted(), notebook=notebook))
    known = dict(notebook.trials)

    again = finish(search_of(planted(), notebook=notebook))

    assert notebook.trials == known
    assert again.verdict == first.verdict
    assert again.best == first.best


def test_the_budget_ends_it_with_what_there_is() -> None:
    few = finish(search_of(planted(), budget=Budget(trials=20)))

    assert len(few.trials) == 20
    assert few.best is None  # no set has seen all prompts yet
    assert few.verdict is not None and few.verdict.finalist is not None
    best = max(few.trials.values(), key=lambda trial: trial.speed)
    assert best.skip_set in {finalist.skip_set for finalist in few.verdict.finalists}


def test_plain_decoding_is_a_result() -> None:
    """Where a draft step saves nothing, no set pays."""
    dear = Load.of(DeviceCosts(LAYERS, 0.0, 0.0, 1.0, ((1, 1.0), (7, 2.0))))

    search = finish(search_of(planted(), load=dear, budget=Budget(trials=30)))

    assert search.verdict is not None
    assert (search.verdict.outcome, search.verdict.finalist) == (Outcome.PLAIN, None)


@pytest.mark.parametrize(
    ("incumbent", "speeds", "outcome"),
    [
        (None, {"plain": 1.0, "lookup": 0.9, "found": 1.3}, Outcome.PROMOTED),
        (None, {"plain": 1.0, "lookup": 1.5, "found": 1.3}, Outcome.LOOKUP),
        (None, {"plain": 1.0, "lookup": 0.9, "found": 1.002}, Outcome.PLAIN),
        (SkipSet.of([1]), {"plain": 1.0, "lookup": 0.9, "found": 1.3, "active": 1.29}, Outcome.KEPT),
        (SkipSet.of([1]), {"plain": 1.0, "lookup": 0.9, "found": 1.3, "active": 1.1}, Outcome.PROMOTED),
        (SkipSet.of([1]), {"plain": 1.0, "lookup": 0.9, "found": 0.9, "active": 0.95}, Outcome.PLAIN),
    ],
)
def test_what_was_timed_decides(incumbent: SkipSet | None, speeds: dict[str, float], outcome: Outcome) -> None:
    turns: list[Contender] = []

    def time_contender(contender: Contender) -> Steps[float]:
        turns.append(contender)
        yield
        if contender.drafter is not Drafter.SKIP:
            return speeds[contender.drafter.value]
        noise = 0.0 if contender.skip_set == incumbent else 0.03 * (turns.count(contender) % 3)
        return (speeds["active"] if contender.skip_set == incumbent else speeds["found"]) * (1 + noise)

    search = finish(search_of(planted(), incumbent=incumbent, time_contender=time_contender, budget=Budget(trials=40)))

    assert search.verdict is not None
    assert search.verdict.outcome is outcome
    assert (search.verdict.finalist is None) == (outcome is Outcome.PLAIN)
    if outcome is Outcome.KEPT:
        assert search.verdict.finalist is not None and search.verdict.finalist.skip_set == incumbent
    is_hopeless = max(speeds["found"], speeds.get("active", 0)) < 0.96
    assert {len(one.speeds) for one in search.verdict.measurements} == {2 if is_hopeless else 3}
    assert all(one != other for one, other in pairwise(turns))  # in turn


def test_a_busy_notebook_is_waited_for() -> None:
    """A set that another worker has claimed is not scored twice; other work goes on meanwhile."""

    class Shared(Memory):
        refusals = 5

        def claim(self, skip_set: SkipSet, source: Source, prompts: int) -> bool:
            if skip_set == SkipSet() and self.refusals:
                self.refusals -= 1
                if not self.refusals:
                    self.record(Trial(skip_set, source, 0.8, 0.0, 1.0, 0.0, 1, 2))
                return False
            return True

    notebook = Shared()
    search = finish(search_of(planted(), notebook=notebook, budget=Budget(trials=3)))

    assert search.trials[SkipSet()].speed == 0.8


@pytest.mark.parametrize("trials,seconds", [(0, 1.0), (1, 0.0)])
def test_a_budget_of_nothing_is_refused(trials: int, seconds: float) -> None:
    with pytest.raises(BadRequest, match="budget"):
        Budget(trials, seconds)


@pytest.mark.parametrize(("scored", "held_out"), [((), requests(1)), (requests(1), ())])
def test_no_prompts_are_refused(scored: Sequence[Request], held_out: Sequence[Request]) -> None:
    with pytest.raises(BadRequest, match="prompts"):
        Calibration(scored, held_out)


def test_prompts_longer_than_a_slot_are_refused() -> None:
    network = planted().network
    slots = SlotCache(CacheShape.of(network, 2, 64), torch.float32, network.device)
    with pytest.raises(BadRequest, match="context"):
        drain(References(network, slots, [0], frozenset(), Meter(network.device)).write(requests(1)))


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(BadRequest, match="3 layers"):
        check(tiny(3))
    for kind in ("bloom", "mpt", "falcon with biases"):
        with pytest.raises(Unsupported, match="columns"):
            check(network_of(kind))
