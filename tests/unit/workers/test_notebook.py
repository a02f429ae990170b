"""The engine's end of a notebook, and the optimiser's end of the line."""

import optuna
import pytest

from engine.search.trial import Source, Trial
from engine.search.units import singles
from engine.skipset import SkipSet
from workers.search.__main__ import answers
from workers.search.notebook import RemoteNotebook
from workers.search.optimiser import Sampler, StudyNotebook, open_study
from workers.wire.searches import Json, trial_json

LAYERS = 4
SET = SkipSet.of([1], [2])
TRIAL = Trial(SET, Source.GREEDY, 1.2, 0.01, 0.9, 0.1, 3, 8)


class Line:
    """What was sent."""

    def __init__(self) -> None:
        self.sent: list[Json] = []

    def notebook(self, *trials: Trial) -> RemoteNotebook:
        return RemoteNotebook(LAYERS, trials, self.sent.append, can_propose=True)


def test_nothing_is_claimed_while_a_record_is_on_its_way() -> None:
    line = Line()
    notebook = line.notebook()
    assert notebook.claim(SET, Source.GREEDY)
    notebook.record(TRIAL)
    assert notebook.find(SET, 8) == TRIAL

    assert not notebook.claim(SkipSet.of([0]), Source.GREEDY)
    assert notebook.is_waiting
    notebook.answer({"do": "noted"})

    assert not notebook.is_waiting
    assert notebook.claim(SkipSet.of([0]), Source.GREEDY)
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
    assert first.claim(SET, Source.GREEDY)
    first.record(TRIAL)
    first.propose(singles(LAYERS))

    known, noted, proposed = answers(keeper, LAYERS, line.sent)

    assert (known, noted) == ({"do": "known", "trials": [], "can_propose": True}, {"do": "noted"})
    first.answer(noted)
    first.answer(proposed)
    proposal = first.propose(singles(LAYERS))
    assert proposal is not None and proposal != SET
    (again,) = answers(StudyNotebook(study, LAYERS, "later", Sampler.GREEDY), LAYERS, [])
    assert again == {"do": "known", "trials": [trial_json(TRIAL, LAYERS)], "can_propose": False}
