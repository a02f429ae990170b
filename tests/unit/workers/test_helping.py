"""A search and its helpers on one study: they find what the search alone finds, and no set is scored twice."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import optuna
import pytest

from engine.cache import CacheShape, SlotCache
from engine.search.helper import lend_a_hand
from engine.search.meter import Meter
from engine.search.objective import Objective
from engine.search.reference import References
from engine.search.trial import Source
from engine.skipset import SkipSet
from tests.unit.engine.search.test_search import DECOYS, LAYERS, LOAD, finish, planted, requests, search_of
from workers.search.optimiser import Sampler, StudyNotebook, open_study

NETWORK = planted(DECOYS)


def study() -> optuna.Study:
    return open_study(optuna.storages.InMemoryStorage(), "one")


def helper(notebook: StudyNotebook) -> Iterator[None]:
    """A helper with references of its own, a unit a step."""
    meter = Meter(NETWORK.network.device)
    slots = SlotCache(CacheShape.of(NETWORK.network, 12, 160), NETWORK.network.dtype, NETWORK.network.device)
    references = References(NETWORK.network, slots, range(12), frozenset(), meter)
    objective = Objective(NETWORK.network, references, LOAD, 6, meter)
    return lend_a_hand(references, objective, requests(8), notebook)


def scored_by(shared: optuna.Study) -> dict[str, Counter[tuple[str, int]]]:
    """How often each owner scored a set on so many prompts."""
    counts: dict[str, Counter[tuple[str, int]]] = {}
    for one in shared.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        scored = one.user_attrs["bits"], one.user_attrs["scored"]["prompts"]
        counts.setdefault(one.user_attrs["owner"], Counter())[scored] += 1
    return counts


@pytest.mark.parametrize("num_helpers", [1, 3])
def test_helpers_change_nothing_but_the_time(num_helpers: int) -> None:
    alone = finish(search_of(NETWORK))
    shared = study()
    lead = search_of(NETWORK, notebook=StudyNotebook(shared, LAYERS, "lead"))
    helpers = [helper(StudyNotebook(shared, LAYERS, f"helper {number}")) for number in range(num_helpers)]

    while lead.step():
        for one in helpers:
            next(one)

    assert lead.verdict == alone.verdict
    # A guess of the frontier may be a neighbour for whoever climbs: then it is known by its first source.
    plain = [{replace(one, source=Source.EMPTY) for one in search.trials.values()} for search in (lead, alone)]
    assert plain[0] == plain[1]
    counts = scored_by(shared)
    assert sum(counts.values(), Counter[tuple[str, int]]()).most_common(1)[0][1] == 1
    assert len(counts) == 1 + num_helpers
    by_helpers = sum(count.total() for name, count in counts.items() if name != "lead")
    assert by_helpers >= counts["lead"].total() * num_helpers / 2


def test_a_helper_begins_with_the_last_of_the_plan_that_nobody_has() -> None:
    shared = study()
    lead, helping = (StudyNotebook(shared, LAYERS, owner) for owner in ("lead", "helper"))
    sets = [SkipSet.of([layer]) for layer in range(3)]
    assert helping.help() is None
    lead.plan(sets, Source.LEAVE_ONE_OUT, 2)
    assert lead.claim(sets[2], Source.LEAVE_ONE_OUT, 2)

    work = helping.help()

    assert work is not None
    assert (work.skip_set, work.source, work.prompts) == (sets[1], Source.LEAVE_ONE_OUT, 2)
    assert not lead.claim(sets[1], Source.LEAVE_ONE_OUT, 2)
    again = helping.help()
    assert again is not None and again.skip_set == sets[0]
    assert helping.help() is None


def test_what_somebody_held_that_is_gone_is_free() -> None:
    shared, alive = study(), {"lead"}
    dead = StudyNotebook(shared, LAYERS, "dead")
    lead = StudyNotebook(shared, LAYERS, "lead", Sampler.GREEDY, 0, alive.__contains__)
    skip_set = SkipSet.of([1])
    assert dead.claim(skip_set, Source.GREEDY, 2)
    alive.add("dead")
    assert not lead.claim(skip_set, Source.GREEDY, 2)
    alive.remove("dead")

    assert lead.claim(skip_set, Source.GREEDY, 2)
