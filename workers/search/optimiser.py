"""A search's notebook in an Optuna study: trials by skip set, a sampler that proposes more, what helpers may do.

Runs in a process of its own with one thread, never on a serving process's: a proposal of the Gaussian process takes
torch, scipy and a second. The storage comes from outside.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from enum import StrEnum
from random import Random
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.samplers import BaseSampler, GPSampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from engine.search.trial import Source, Trial, Work
from engine.search.units import contains, union
from engine.skipset import SkipSet

_BITS, _OWNER, _SCORED = "bits", "owner", "scored"  # user attributes of a trial
_PLAN, _COSTS = "plan", "costs"  # and of the study
_TRIES = 8  # proposals of the sampler before a known one is changed at random
_STARTUP = 10  # complete trials before the sampler models them


Json = dict[str, Any]
IsAlive = Callable[[str], bool]  # whether the owner of that name may still score what it claimed


class Sampler(StrEnum):
    """Who proposes candidates after the warm start."""

    GP = "gp"  # Bayesian: a Gaussian process and expected improvement
    TPE = "tpe"
    RANDOM = "random"
    GREEDY = "greedy"  # nobody: warm start and refinement alone


def sampler_of(kind: Sampler, seed: int) -> BaseSampler:
    """Optuna's sampler of that kind."""
    if kind is Sampler.GP:
        # Scores on few prompts and on all differ as if by noise, so the objective does not count as deterministic.
        return GPSampler(seed=seed, n_startup_trials=_STARTUP)
    if kind is Sampler.TPE:
        return TPESampler(seed=seed, n_startup_trials=_STARTUP, multivariate=False)
    return RandomSampler(seed=seed)


def open_study(storage: BaseStorage, name: str) -> optuna.Study:
    """The study of a search, new or as it was left."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)


def fail_abandoned(study: optuna.Study, is_alive: IsAlive) -> int:
    """Tell running trials whose owner is gone that they failed, so that their sets may be scored again; how many."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    gone = [trial for trial in running if not is_alive(str(trial.user_attrs.get(_OWNER)))]
    for trial in gone:
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    return len(gone)


class StudyNotebook:
    """The ``Notebook`` of one worker; workers that share a study have different ``owner`` names."""

    def __init__(
        self,
        study: optuna.Study,
        layers: int,
        owner: str,
        sampler: Sampler = Sampler.GREEDY,
        seed: int = 0,
        is_alive: IsAlive = lambda _: True,
    ) -> None:
        self._study, self._layers, self._owner, self._kind = study, layers, owner, sampler
        self._is_alive = is_alive
        self._sampler = sampler_of(sampler, seed)
        self._dice = Random(seed)  # noqa: S311  of candidates, not of secrets
        self._known: dict[SkipSet, dict[int, Trial]] = {}  # by the number of prompts
        self._seen: set[int] = set()  # numbers of trials that are known
        self._mine: dict[SkipSet, FrozenTrial] = {}  # claimed and not scored yet
        names = [f"{half}.{layer}" for half in ("attention", "mlp") for layer in range(layers)]
        self._space: dict[str, BaseDistribution] = {name: IntDistribution(0, 1) for name in names}

    @property
    def can_propose(self) -> bool:
        return self._kind is not Sampler.GREEDY

    def trials(self) -> list[Trial]:
        """All that have been scored, by whomever."""
        self._refresh()
        return [trial for by_prompts in self._known.values() for trial in by_prompts.values()]

    def find(self, skip_set: SkipSet, prompts: int) -> Trial | None:
        if prompts not in self._known.get(skip_set, {}):
            self._refresh()
        return self._known.get(skip_set, {}).get(prompts)

    def claim(self, skip_set: SkipSet, source: Source, prompts: int) -> bool:
        """Enter a running trial; of two workers that do so at once the lower number has it.

        What an owner had claimed that is gone has failed, and is free.
        """
        if skip_set in self._mine:
            return True
        if self.find(skip_set, prompts) is not None or self._rivals(skip_set):
            return False
        attributes = {_BITS: skip_set.bits(self._layers), _OWNER: self._owner, "source": source.value}
        # Each parameter is a row, for a sampler to model: they take four fifths of a claim's time.
        space = self._space if self.can_propose else {}
        params = self._params(skip_set) if self.can_propose else {}
        trial = create_trial(state=TrialState.RUNNING, params=params, distributions=space, user_attrs=attributes)
        self._study.add_trial(trial)
        rivals = self._running(skip_set)
        mine = next(trial for trial in rivals if trial.user_attrs[_OWNER] == self._owner)
        if mine is not rivals[0] or self.find(skip_set, prompts) is not None:  # scored between our two looks
            self._study.tell(mine.number, state=TrialState.FAIL)
            return False
        self._mine[skip_set] = mine
        return True

    def record(self, trial: Trial) -> None:
        """Tell the study."""
        try:
            self._tell(self._mine.pop(trial.skip_set), trial)
        except UpdateFinishedTrialError:  # we were taken for dead: whoever has it now scores it again
            if not self.claim(trial.skip_set, trial.source, trial.prompts):
                return
            self._tell(self._mine.pop(trial.skip_set), trial)
        self._known.setdefault(trial.skip_set, {})[trial.prompts] = trial

    def propose(self, free: Iterable[SkipSet]) -> SkipSet | None:
        """Ask the sampler for a set of ``free`` units that nobody has scored."""
        units = list(free)
        self._refresh()
        usable = union(units)
        fixed = {name: 0 for name, bit in zip(self._space, usable.bits(self._layers), strict=True) if bit == "0"}
        for _ in range(_TRIES):
            entry, skip_set = self._ask(units, fixed)
            known = self._known.get(skip_set)
            if known is None and not self._running(skip_set):
                return self._hold(entry, skip_set)
            if known is not None:
                self._tell(entry, known[max(known)])
            else:
                self._study.tell(entry.number, state=TrialState.FAIL)
        return self._changed(skip_set, units)

    def plan(self, skip_sets: Sequence[SkipSet], source: Source, prompts: int) -> None:
        """Keep it with the study, where helpers look."""
        plan = {"sets": [one.bits(self._layers) for one in skip_sets], "source": source.value, "prompts": prompts}
        self._study.set_user_attr(_PLAN, plan)

    def help(self) -> Work | None:
        plan = self._study.user_attrs.get(_PLAN)
        if plan is None:
            return None
        source, prompts = Source(plan["source"]), plan["prompts"]
        self._refresh()
        for skip_set in map(SkipSet.from_bits, reversed(plan["sets"])):
            is_free = prompts not in self._known.get(skip_set, {}) and not self._running(skip_set)
            if is_free and self.claim(skip_set, source, prompts):
                return Work(skip_set, source, prompts)
        return None

    @property
    def costs(self) -> Json | None:
        """What the trials are priced by, once the lead has said it."""
        costs: Json | None = self._study.user_attrs.get(_COSTS)
        return costs

    def price(self, costs: Json) -> None:
        """Keep what passes cost; what was kept first stays, for trials were priced by it."""
        if self.costs is None:
            self._study.set_user_attr(_COSTS, costs)

    def _ask(self, units: list[SkipSet], fixed: Json) -> tuple[FrozenTrial, SkipSet]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._study.sampler = PartialFixedSampler(fixed, self._sampler)
        asked = self._study.ask(self._space)
        asked.set_user_attr(_OWNER, self._owner)
        raw = SkipSet.from_bits("".join(str(asked.params[name]) for name in self._space))
        return self._frozen(asked.number), union(unit for unit in units if contains(raw, unit))

    def _hold(self, entry: FrozenTrial, skip_set: SkipSet) -> SkipSet:
        live = optuna.Trial(self._study, entry._trial_id)
        live.set_user_attr(_BITS, skip_set.bits(self._layers))
        live.set_user_attr("source", Source.SAMPLER.value)
        self._mine[skip_set] = entry
        return skip_set

    def _changed(self, skip_set: SkipSet, units: list[SkipSet]) -> SkipSet | None:
        """An unknown set some random flips away; None when there seems to be none left."""
        for _ in range(10 * _TRIES):
            unit = self._dice.choice(units)
            is_in = contains(skip_set, unit)
            kept = [one for one in units if contains(skip_set, one) and one != unit]
            skip_set = union(kept if is_in else [*kept, unit])
            if skip_set not in self._known and self.claim(skip_set, Source.SAMPLER, 0):
                return skip_set
        return None

    def _tell(self, entry: FrozenTrial, trial: Trial) -> None:
        live = optuna.Trial(self._study, entry._trial_id)
        live.set_user_attr(_BITS, trial.skip_set.bits(self._layers))
        live.set_user_attr(_SCORED, {name: value for name, value in asdict(trial).items() if name != "skip_set"})
        live.report(trial.speed, step=trial.prompts)
        self._study.tell(live, trial.speed)

    def _refresh(self) -> None:
        """Take in what other workers scored."""
        for entry in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            scored = entry.user_attrs.get(_SCORED)
            if scored is None or entry.number in self._seen:
                continue
            self._seen.add(entry.number)
            skip_set = SkipSet.from_bits(entry.user_attrs[_BITS])
            trial = Trial(**{**scored, "skip_set": skip_set, "source": Source(scored["source"])})
            self._known.setdefault(skip_set, {})[trial.prompts] = trial

    def _rivals(self, skip_set: SkipSet) -> list[FrozenTrial]:
        """Who has a set; those that are gone do not count, and have failed."""
        rivals = self._running(skip_set)
        gone = [one for one in rivals if not self._is_alive(str(one.user_attrs.get(_OWNER)))]
        for one in gone:
            self._study.tell(one.number, state=TrialState.FAIL, skip_if_finished=True)
        return [one for one in rivals if one not in gone]

    def _running(self, skip_set: SkipSet) -> list[FrozenTrial]:
        bits = skip_set.bits(self._layers)
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return sorted((one for one in running if one.user_attrs.get(_BITS) == bits), key=lambda one: one.number)

    def _frozen(self, number: int) -> FrozenTrial:
        return next(one for one in self._study.get_trials(deepcopy=False) if one.number == number)

    def _params(self, skip_set: SkipSet) -> Json:
        bits = skip_set.bits(self._layers)
        return {name: int(bit) for name, bit in zip(self._space, bits, strict=True)}
