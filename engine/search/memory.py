"""A notebook of one search, in memory: what it scored, and random proposals or none."""

from collections.abc import Iterable
from random import Random

from engine.search.trial import Source, Trial
from engine.search.units import union
from engine.skipset import SkipSet


class Memory:
    """Trials by skip set. Without ``dice`` it proposes nothing: warm start and refinement alone (``greedy``)."""

    def __init__(self, dice: Random | None = None) -> None:
        self.trials: dict[SkipSet, Trial] = {}
        self._dice = dice

    @property
    def can_propose(self) -> bool:
        return self._dice is not None

    def find(self, skip_set: SkipSet) -> Trial | None:
        return self.trials.get(skip_set)

    def claim(self, skip_set: SkipSet, source: Source) -> bool:
        return True

    def record(self, trial: Trial) -> None:
        self.trials[trial.skip_set] = trial

    def propose(self, free: Iterable[SkipSet]) -> SkipSet | None:
        if self._dice is None:
            return None
        share = self._dice.random()
        return union(unit for unit in free if self._dice.random() < share)
