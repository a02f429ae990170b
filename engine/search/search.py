"""The search, driven in units of one pass each: references, warm start, refinement, proposals, finalists.

``step`` does a unit and returns, so that a worker can decode rows in between. What it comes to is a ``Verdict``.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf

from transformers import PreTrainedModel

from engine.alibi import has_falcon_biases
from engine.errors import BadRequest, Unsupported
from engine.family import family_of
from engine.request import Request
from engine.search.chance import expected_gain, is_promising
from engine.search.finalists import TimeContender, Verdict, confirm, contenders_of, expected_verdict, judge, rescore
from engine.search.meter import Meter
from engine.search.objective import Objective
from engine.search.pairs import Pair, cancelling
from engine.search.published import published_for
from engine.search.reference import Reference, References
from engine.search.refine import refine
from engine.search.stage import Stage
from engine.search.steps import Steps
from engine.search.trial import Notebook, Source, Trial
from engine.search.warm import Priced, frontier, leave_one_out, peaks
from engine.skipset import SkipSet

_LEAST_LAYERS = 4
_JUDGED = 24  # proposals by which the gain of a further one is judged


class Spent(Exception):
    """The budget ran out; what was found so far goes to the last round."""


@dataclass(frozen=True, slots=True)
class Budget:
    """When to stop looking: candidates scored, and device seconds spent on them."""

    trials: int = 400
    seconds: float = inf

    def __post_init__(self) -> None:
        if self.trials < 1 or self.seconds <= 0:
            raise BadRequest("a search needs a budget of at least one trial and some seconds", parameter="budget")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a search spends its budget.

    ``few``: prompts that a candidate is scored on before it must be in the top quarter to see all of them.
    ``climbs``: peaks of the greedy frontier that are refined. ``finalists``: sets that are scored exactly and timed,
    ``timed_rounds`` turns each. ``thresholds``: of the adaptive exit, weighed beside fixed lengths.
    """

    few: int = 4
    climbs: int = 3
    finalists: int = 3
    timed_rounds: int = 5
    thresholds: tuple[float, ...] = (0.1, 0.2, 0.4, 0.6)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Requests that candidates are scored on, and others that finalists are judged by."""

    scored: Sequence[Request]
    held_out: Sequence[Request]

    def __post_init__(self) -> None:
        if not self.scored or not self.held_out:
            raise BadRequest("a search needs prompts to score on and others to confirm with", parameter="calibration")


class Search:
    """One search on one device. Not thread-safe: whoever owns the network drives it between other work."""

    def __init__(  # noqa: PLR0913  what it works on, and how
        self,
        network: PreTrainedModel,
        references: References,
        objective: Objective,
        calibration: Calibration,
        notebook: Notebook,
        meter: Meter,
        *,
        time_contender: TimeContender | None = None,
        incumbent: SkipSet | None = None,
        budget: Budget = Budget(),
        settings: Settings = Settings(),
    ) -> None:
        """
        Args:
            time_contender: decodes for real and says how fast; without one the verdict rests on expectations

        Raises: Unsupported for a family that cannot skip; BadRequest for a network too small to spare anything.
        """
        check(network)
        self._network, self._references, self._objective = network, references, objective
        self._calibration, self._notebook, self._incumbent = calibration, notebook, incumbent
        self._time_contender, self._budget, self._settings = time_contender, budget, settings
        self._meter = meter
        self._scored: list[Reference] = []
        self._quick: dict[SkipSet, float] = {}  # speeds on the few prompts
        self.trials: dict[SkipSet, Trial] = {}
        self.best: Trial | None = None
        self.verdict: Verdict | None = None
        self.stage = Stage.REFERENCES
        self._steps = self._run()

    def step(self) -> bool:
        """Do one unit; False when the search has ended and ``verdict`` is there."""
        try:
            next(self._steps)
        except StopIteration as end:
            self.verdict = end.value
            return False
        return True

    def _run(self) -> Steps[Verdict]:
        self._scored = yield from self._references.write(self._calibration.scored)
        with suppress(Spent):
            yield from self._look()
        self._plan((), Source.REFINEMENT)  # nobody helps with what is left
        self.stage = Stage.CONFIRMING
        return (yield from self._settle())

    def _look(self) -> Steps[None]:
        self.stage = Stage.WARM
        for source, skip_set in self._known_sets():
            yield from self._in_full(skip_set, source)
        pairs = yield from self._pairs()
        units = yield from leave_one_out(self._quickly, self._objective.load, pairs, self._plan)
        path = yield from frontier(self._quickly, self._objective.load, units, 1 / self._few_positions, self._plan)
        self.stage = Stage.CLIMBING
        for start in peaks(path)[: self._settings.climbs]:
            yield from self._climb((yield from self._in_full(start.skip_set, Source.GREEDY)), units)
        self._plan((), Source.SAMPLER)
        before, self.stage = self._best, Stage.PROPOSING
        yield from self._propose(units)
        if self._best is not before:
            self.stage = Stage.CLIMBING
            yield from self._climb(self._best, units)

    def _known_sets(self) -> list[tuple[Source, SkipSet]]:
        known = [(Source.PUBLISHED, one) for one in published_for(self._network)]
        return known if self._incumbent is None else [(Source.INCUMBENT, self._incumbent), *known]

    def _pairs(self) -> Steps[list[Pair]]:
        reference = self._scored[0]
        slot = yield from self._references.fetch(reference)
        pairs = self._objective.metered(lambda: cancelling(self._network, self._references.cache, slot, reference))
        yield
        return pairs

    def _climb(self, start: Trial, units: Sequence[Priced]) -> Steps[None]:
        """Score a neighbour on the few prompts, and on all of them when the present set is no better on the few."""
        yield from refine(self._against, start, units, self._plan)

    def _propose(self, units: Sequence[Priced]) -> Steps[None]:
        """Score what the notebook's sampler proposes until a further proposal promises less than the noise."""
        speeds: list[float] = []
        free = [priced.unit for priced in units]
        while self._notebook.can_propose:
            skip_set = self._notebook.propose(free)
            if skip_set is None:
                yield
                continue
            speeds.append((yield from self._screened(skip_set, Source.SAMPLER)).speed)
            recent = speeds[-_JUDGED:]
            if len(recent) == _JUDGED and expected_gain(recent, self._best.speed) < self._noise:
                return

    @property
    def _best(self) -> Trial:
        if self.best is None:
            raise Spent
        return self.best

    @property
    def _noise(self) -> float:
        """The least difference in speed that means anything: a tenth of the best trial's error, one draft at least."""
        return max(0.1 * self._best.spread, self._best.speed / self._positions)

    @property
    def _positions(self) -> int:
        return sum(reference.width for reference in self._scored)

    @property
    def _few_positions(self) -> int:
        return sum(reference.width for reference in self._scored[: self._settings.few])

    def _quickly(self, skip_set: SkipSet, source: Source) -> Steps[Trial]:
        """Score on the few prompts."""
        return (yield from self._at(skip_set, source, self._settings.few))

    def _in_full(self, skip_set: SkipSet, source: Source) -> Steps[Trial]:
        """Score on all prompts."""
        return (yield from self._at(skip_set, source, len(self._scored)))

    def _screened(self, skip_set: SkipSet, source: Source) -> Steps[Trial]:
        """Score on the few prompts, and on all of them when that makes the top quarter."""
        few = yield from self._quickly(skip_set, source)
        if not is_promising(few.speed, self._quick.values()):
            return few
        return (yield from self._in_full(skip_set, source))

    def _against(self, rival: Trial, skip_set: SkipSet) -> Steps[Trial]:
        """Score on the few prompts, and on all of them when the rival is no better on the few by a draft or more."""
        bar = yield from self._quickly(rival.skip_set, rival.source)
        few = yield from self._quickly(skip_set, Source.REFINEMENT)
        if few.speed < bar.speed * (1 - 1 / self._few_positions):
            return few
        return (yield from self._in_full(skip_set, Source.REFINEMENT))

    def _at(self, skip_set: SkipSet, source: Source, prompts: int) -> Steps[Trial]:
        """The trial on the first prompts: what the notebook has, or else scored now.

        Raises: Spent for a new set beyond the budget.
        """
        prompts = min(prompts, len(self._scored))
        is_new = skip_set not in self.trials
        if is_new and (len(self.trials) >= self._budget.trials or self._meter.search_s >= self._budget.seconds):
            raise Spent
        while (known := self._notebook.find(skip_set, prompts)) is None:
            if self._notebook.claim(skip_set, source, prompts):
                trial = yield from self._objective.score(skip_set, source, self._scored[:prompts])
                self._notebook.record(trial)
                return self._take(trial)
            yield  # somebody else is scoring it
        return self._take(known)

    def _plan(self, skip_sets: Sequence[SkipSet], source: Source) -> None:
        """Tell helpers what will probably be scored on the few prompts."""
        self._notebook.plan(skip_sets, source, min(self._settings.few, len(self._scored)))

    def _take(self, trial: Trial) -> Trial:
        if trial.prompts <= self._settings.few:
            self._quick[trial.skip_set] = trial.speed
        if trial.prompts == len(self._scored) or trial.skip_set not in self.trials:
            self.trials[trial.skip_set] = trial
        if trial.prompts == len(self._scored) and (self.best is None or trial.speed > self.best.speed):
            self.best = trial
        return trial

    def _settle(self) -> Steps[Verdict]:
        """Judge the best sets, and the incumbent, on prompts none of them was chosen by.

        A budget may end before any set has seen all prompts: then those are judged that did best on few.
        """
        held_out = yield from self._references.write(self._calibration.held_out)
        scored = [trial for trial in self.trials.values() if trial.skip_set]
        whole = [trial for trial in scored if trial.prompts == len(self._scored)]
        chosen = sorted(whole or scored, key=lambda trial: -trial.speed)[: self._settings.finalists]
        sets = list(dict.fromkeys([trial.skip_set for trial in chosen] + self._incumbents))
        finalists = yield from rescore(self._objective, sets, held_out, self._settings.thresholds)
        if self._time_contender is None:
            return expected_verdict(finalists, self._incumbent)
        contenders = contenders_of(finalists)
        measured = yield from confirm(self._time_contender, contenders, self._settings.timed_rounds)
        return judge(finalists, self._incumbent, measured)

    @property
    def _incumbents(self) -> list[SkipSet]:
        return [] if self._incumbent is None else [self._incumbent]


def check(network: PreTrainedModel) -> None:
    """Raises Unsupported for a family that cannot be searched, BadRequest for a network too small to spare anything."""
    layers = network.config.num_hidden_layers
    if family_of(network).adds_residual or has_falcon_biases(network):
        raise Unsupported(f"position biases of {network.config.model_type} go by columns: it cannot be searched")
    if layers < _LEAST_LAYERS:
        raise BadRequest(f"a network of {layers} layers has nothing to spare", code="too_few_layers", parameter="model")
