"""The engine's end of a notebook, and the optimiser's end of the line."""

import time
from collections.abc import Iterator

import optuna
import pytest

from engine.search.trial import Source, Trial, Work
from engine.search.units import singles
from engine.skipset import SkipSet
from workers.search.__main__ import answers
from workers.search.notebook import RETRY_S, RemoteNotebook
from workers.search.optimiser import Sampler, StudyNotebook, open_study
from workers.wire.searches import Json, trial_json

LAYERS = 4
SET = SkipSet.of([1], [2])
TRIAL = Trial(SET, Source.GREEDY, 1.2, 0.01, 0.9, 0.1, 3, 8)


class Line:
    """What was sent."""

    def __init__(self) -> None:
        self.sent: list[Json] = []

    def notebook(self, *trials: Trial, is_shared: bool = False) -> RemoteNotebook:
        return RemoteNotebook(LAYERS, trials, self.sent.append, can_propose=True, is_shared=is_shared)


def test_nothing_is_claimed_while_a_record_is_on_its_way() -> None:
    line = Line()
    notebook = line.notebook()
    assert notebook.claim(SET, Source.GREEDY, 8)
    notebook.record(TRIAL)
    assert notebook.find(SET, 8) == TRIAL

    assert not notebook.claim(SkipSet.of([0]), Source.GREEDY, 8)
    assert notebook.is_waiting
    notebook.answer({"do": "noted"})

    assert not notebook.is_waiting
    assert notebook.claim(SkipSet.of([0]), Source.GREEDY, 8)
    assert [one["do"] for one in line.sent] == ["claim", "record", "claim"]


def test_a_question_is_asked_once_and_answered_once() -> None:
    line = Line()
    notebook = line.notebook()
    for _ in range(3):
        assert notebook.propose(singles(LAYERS)) is None
    assert notebook.is_waiting
    notebook.answer({"do": "proposed", "bits": SET.bits(LAYERS)})

    assert notebook.propose(singles(LAYERS)) == SET
    assert [one["do"] for one in line.sent] == ["propose"]


def test_an_exhausted_sampler_is_asked_no_more() -> None:
    notebook = Line().notebook()
    notebook.propose(singles(LAYERS))
    notebook.answer({"do": "proposed", "bits": None})

    assert not notebook.can_propose


@pytest.mark.parametrize("entry", [{}, {"do": "proposed"}, {"do": "proposed", "bits": "012"}])
def test_nonsense_is_refused(entry: Json) -> None:
    with pytest.raises((KeyError, ValueError, Exception), match=r"do|bits|skip set"):
        Line().notebook().answer(entry)


def test_both_ends_of_the_line_agree() -> None:
    study = open_study(optuna.storages.InMemoryStorage(), "one")
    keeper, line = StudyNotebook(study, LAYERS, "mine", Sampler.RANDOM), Line()
    first = line.notebook()
    assert first.claim(SET, Source.GREEDY, 8)
    first.record(TRIAL)
    first.propose(singles(LAYERS))

    known, noted, proposed = answers(keeper, LAYERS, line.sent)

    assert known == {"do": "known", "trials": [], "can_propose": True, "costs": None}
    assert noted == {"do": "noted"}
    first.answer(noted)
    first.answer(proposed)
    proposal = first.propose(singles(LAYERS))
    assert proposal is not None and proposal != SET
    (again,) = answers(StudyNotebook(study, LAYERS, "later", Sampler.GREEDY), LAYERS, [])
    assert again == {"do": "known", "trials": [trial_json(TRIAL, LAYERS)], "can_propose": False, "costs": None}


class Pair:
    """The two ends of a line, an answer at a time."""

    def __init__(self, keeper: StudyNotebook) -> None:
        self._line = Line()
        self.notebook = self._line.notebook(is_shared=True)
        self._answers = answers(keeper, LAYERS, self._entries())
        next(self._answers)  # what is known

    def _entries(self) -> Iterator[Json]:
        while True:
            yield self._line.sent.pop(0)

    @property
    def num_waiting(self) -> int:
        return len(self._line.sent)

    def carry(self) -> None:
        """Carry the next answer back."""
        self.notebook.answer(next(self._answers))


def pairs() -> tuple[Pair, Pair]:
    study = open_study(optuna.storages.InMemoryStorage(), "one")
    lead, helper = (Pair(StudyNotebook(study, LAYERS, owner)) for owner in ("lead", "helper"))
    return lead, helper


def test_a_set_of_a_shared_search_is_granted_to_one_and_known_to_the_other() -> None:
    mine, other = pairs()
    for _ in range(2):
        assert not mine.notebook.claim(SET, Source.GREEDY, 8)
        assert mine.notebook.is_waiting
    assert mine.num_waiting == 1  # asked once
    mine.carry()
    assert mine.notebook.claim(SET, Source.GREEDY, 8)

    assert not other.notebook.claim(SET, Source.REFINEMENT, 8)
    other.carry()
    assert not other.notebook.claim(SET, Source.REFINEMENT, 8)
    assert other.notebook.is_waiting and not other.num_waiting  # it is too early to ask again
    mine.notebook.record(TRIAL)
    mine.carry()
    time.sleep(RETRY_S)
    assert not other.notebook.is_waiting
    assert not other.notebook.claim(SET, Source.REFINEMENT, 8)
    other.carry()

    assert other.notebook.find(SET, 8) == TRIAL


def test_a_helper_is_given_what_the_lead_plans() -> None:
    lead, helper = pairs()
    assert helper.notebook.help() is None
    helper.carry()
    assert helper.notebook.is_waiting  # nothing is planned yet
    for _ in range(2):  # told once
        lead.notebook.plan([SkipSet(), SET], Source.GREEDY, 8)
    assert lead.num_waiting == 1
    assert not lead.notebook.claim(SkipSet(), Source.EMPTY, 8)
    lead.carry()
    time.sleep(RETRY_S)

    assert helper.notebook.help() is None
    helper.carry()

    assert helper.notebook.help() == Work(SET, Source.GREEDY, 8)
    helper.notebook.record(TRIAL)
    assert helper.notebook.help() is None and helper.num_waiting == 1  # the record is still on its way


def test_nothing_of_it_is_sent_where_nobody_helps() -> None:
    line = Line()

    line.notebook().plan([SET], Source.GREEDY, 8)

    assert line.sent == []
