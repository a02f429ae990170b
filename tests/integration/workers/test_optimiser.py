"""Searches in an Optuna study on a real PostgreSQL: shared by workers, gone on with after a crash."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.trial import TrialState

from engine.search.trial import Source, Trial
from engine.search.units import singles, union
from engine.skipset import SkipSet
from workers.search.optimiser import Sampler, StudyNotebook, fail_abandoned, open_study
from workers.search.storage import open_storage

LAYERS = 4
SET = SkipSet.of([1], [2])


def trial_of(skip_set: SkipSet, speed: float, prompts: int = 8) -> Trial:
    return Trial(skip_set, Source.GREEDY, speed, 0.01, 0.9, 0.1, 3, prompts)


@pytest.fixture
def storage(database_url: str) -> Iterator[optuna.storages.BaseStorage]:
    """Optuna's tables in a schema of their own beside the registry's."""
    storage = open_storage(database_url)
    yield storage
    storage.remove_session()
    storage.engine.dispose()


def test_first_starts_at_once_make_the_tables_once(database_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        storages = list(pool.map(open_storage, [database_url] * 4))

    assert len({open_study(one, "one")._study_id for one in storages}) == 1
    for one in storages:
        one.engine.dispose()


def test_what_one_worker_scored_the_other_knows(storage: optuna.storages.BaseStorage) -> None:
    mine, other = (StudyNotebook(open_study(storage, "one"), LAYERS, owner) for owner in ("mine", "other"))

    assert mine.find(SET, 8) is None
    assert mine.claim(SET, Source.GREEDY, 8)
    assert not other.claim(SET, Source.GREEDY, 8)
    assert other.find(SET, 8) is None
    mine.record(trial_of(SET, 1.2))

    assert other.find(SET, 8) == trial_of(SET, 1.2)


def test_few_prompts_and_all_are_kept_apart(storage: optuna.storages.BaseStorage) -> None:
    notebook = StudyNotebook(open_study(storage, "one"), LAYERS, "mine")
    for prompts in (2, 8):
        assert notebook.claim(SET, Source.GREEDY, prompts)
        notebook.record(trial_of(SET, 1.0 + prompts, prompts))

    again = StudyNotebook(open_study(storage, "one"), LAYERS, "later")

    assert [again.find(SET, prompts) for prompts in (2, 8, 4)] == [trial_of(SET, 3.0, 2), trial_of(SET, 9.0, 8), None]


def test_a_crash_loses_one_trial(storage: optuna.storages.BaseStorage) -> None:
    dead = StudyNotebook(open_study(storage, "one"), LAYERS, "dead")
    assert dead.claim(SkipSet.of([0]), Source.GREEDY, 8)
    dead.record(trial_of(SkipSet.of([0]), 1.1))
    assert dead.claim(SET, Source.GREEDY, 8)  # and then it is killed

    study = open_study(storage, "one")
    living = StudyNotebook(study, LAYERS, "living")
    assert not living.claim(SET, Source.GREEDY, 8)
    assert fail_abandoned(study, lambda owner: owner == "living") == 1

    assert living.claim(SET, Source.GREEDY, 8)
    assert living.find(SkipSet.of([0]), 8) == trial_of(SkipSet.of([0]), 1.1)
    assert [one.state for one in study.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING]


def test_of_two_that_claim_at_once_one_has_it_and_no_set_is_scored_twice(storage: optuna.storages.BaseStorage) -> None:
    sets = [SkipSet.of([layer], [other]) for layer in range(LAYERS) for other in range(LAYERS)]
    books = [StudyNotebook(open_study(storage, "one"), LAYERS, owner) for owner in ("mine", "other")]

    def work(notebook: StudyNotebook) -> int:
        """Score what can be had, one set after the other; how many."""
        num = 0
        for skip_set in sets:
            if notebook.find(skip_set, 8) is None and notebook.claim(skip_set, Source.GREEDY, 8):
                notebook.record(trial_of(skip_set, 1.0))
                num += 1
        return num

    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(work, books))

    states = [one.state for one in open_study(storage, "one").trials]
    assert sum(counts) == states.count(TrialState.COMPLETE) == len(sets)
    assert TrialState.RUNNING not in states


def test_a_worker_that_was_taken_for_dead_keeps_its_trial_if_nobody_has_the_set(
    storage: optuna.storages.BaseStorage,
) -> None:
    study = open_study(storage, "one")
    mine, other = (StudyNotebook(study, LAYERS, owner) for owner in ("mine", "other"))
    taken = SkipSet.of([0])
    assert mine.claim(SET, Source.GREEDY, 8) and mine.claim(taken, Source.GREEDY, 8)
    assert fail_abandoned(study, lambda owner: owner == "other") == 2
    assert other.claim(taken, Source.GREEDY, 8)

    mine.record(trial_of(SET, 1.2))
    mine.record(trial_of(taken, 1.3))

    assert other.find(SET, 8) == trial_of(SET, 1.2)
    assert other.find(taken, 8) is None
    other.record(trial_of(taken, 1.3))


def test_costs_are_kept_as_they_were_told_first(storage: optuna.storages.BaseStorage) -> None:
    mine, other = (StudyNotebook(open_study(storage, "one"), LAYERS, owner) for owner in ("mine", "other"))
    assert mine.costs is None
    mine.price({"parts": []})
    other.price({"parts": [1]})

    assert other.costs == {"parts": []}


def test_searches_do_not_mix(storage: optuna.storages.BaseStorage) -> None:
    one, two = (StudyNotebook(open_study(storage, name), LAYERS, "mine") for name in ("one", "two"))
    assert one.claim(SET, Source.GREEDY, 8)
    one.record(trial_of(SET, 1.2))

    assert two.find(SET, 8) is None


@pytest.mark.parametrize("kind", [Sampler.GP, Sampler.TPE, Sampler.RANDOM])
def test_proposals_are_new_and_made_of_units(kind: Sampler) -> None:
    study = open_study(optuna.storages.InMemoryStorage(), "one")
    notebook = StudyNotebook(study, LAYERS, "mine", kind, seed=1)
    units = [SkipSet.of([1], [2]), *singles(LAYERS)[4:6]]
    seen = []
    for _ in range(6):
        skip_set = notebook.propose(units)
        assert skip_set is not None and notebook.claim(skip_set, Source.SAMPLER, 8)
        notebook.record(trial_of(skip_set, 1 + 0.1 * len(skip_set)))
        seen.append(skip_set)

    assert len(set(seen)) == 6
    assert set(seen) <= {union(unit for i, unit in enumerate(units) if bits >> i & 1) for bits in range(8)}


def test_greedy_proposes_nothing() -> None:
    study = open_study(optuna.storages.InMemoryStorage(), "one")

    assert not StudyNotebook(study, LAYERS, "mine", Sampler.GREEDY).can_propose
