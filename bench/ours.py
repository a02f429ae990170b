"""Our search, run whole on a subject: what it finds on the way, and what that costs."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.ledger import Shape, counting
from bench.practice import TOKENS
from bench.subjects import MOST, Subject, references_of
from engine.search.costs import Load, measure
from engine.search.meter import Meter
from engine.search.objective import Objective
from engine.search.search import Budget, Calibration, Search, Settings
from engine.search.steps import drain
from engine.search.timing import PassTimer
from engine.search.trial import Notebook, Trial
from engine.skipset import SkipSet

if TYPE_CHECKING:
    from workers.search.optimiser import StudyNotebook

SAMPLERS = ("gp", "tpe", "random", "greedy")

Progress = list[tuple[float, SkipSet]]  # the best set so far after so many device seconds


@dataclass(frozen=True, slots=True)
class Run:
    """One of our searches: what it found, on the way too, and what that cost."""

    sampler: str
    path: Progress
    trials: list[Trial]
    phases_s: dict[str, float]
    host_s: float
    longest_unit_s: float
    counts: Counter[Shape]

    @property
    def found(self) -> SkipSet:
        return self.path[-1][1]

    @property
    def device_s(self) -> float:
        return self.path[-1][0]

    @property
    def by_source(self) -> dict[str, int]:
        return dict(Counter(trial.source.value for trial in self.trials))


def fit(subject: Subject, meter: Meter) -> Load:
    references = references_of(subject, subject.scored, meter)
    timer = PassTimer(subject.network, references.cache, 0, len(subject.scored[0].prompt) + TOKENS, meter)
    return Load.of(drain(measure(timer, subject.layers, MOST)))


def ours(
    subject: Subject,
    sampler: str,
    seed: int,
    budget: Budget,
    load: Load | None = None,
    notebook: Notebook | None = None,
) -> Run:
    """Run our search; without ``load`` it measures costs itself, and pays for it."""
    meter = Meter(subject.network.device)
    began = time.perf_counter()
    with counting(subject.network) as counts:
        pages = notebook or new_notebook(subject, sampler, seed)
        search = _search(subject, load or fit(subject, meter), meter, pages, budget)
        path, longest = [], 0.0
        while True:
            before, seconds = search.best, meter.search_s
            if not search.step():
                break
            longest = max(longest, meter.search_s - seconds)
            if search.best is not before and search.best is not None:
                path.append((meter.search_s, search.best.skip_set))
    verdict = search.verdict
    found = SkipSet() if verdict is None or verdict.finalist is None else verdict.finalist.skip_set
    return Run(
        sampler,
        [*path, (meter.search_s, found)],
        list(search.trials.values()),
        {phase.value: seconds for phase, seconds in meter.seconds.items()},
        time.perf_counter() - began - meter.search_s,
        longest,
        counts,
    )


def new_notebook(subject: Subject, sampler: str, seed: int) -> "StudyNotebook":
    """An empty study in memory."""
    import optuna  # noqa: PLC0415  the extra ``search``; other benches do without

    from workers.search.optimiser import Sampler, StudyNotebook, open_study  # noqa: PLC0415

    study = open_study(optuna.storages.InMemoryStorage(), "bench")
    return StudyNotebook(study, subject.layers, "bench", Sampler(sampler), seed)


def _search(subject: Subject, load: Load, meter: Meter, notebook: Notebook, budget: Budget) -> Search:
    references = references_of(subject, [*subject.scored, *subject.held_out], meter)
    return Search(
        subject.network,
        references,
        Objective(subject.network, references, load, MOST, meter),
        Calibration(subject.scored, subject.held_out),
        notebook,
        meter,
        budget=budget,
        settings=Settings(),
    )
