"""A notebook of one search, in memory: what it scored, and random proposals or none."""

from collections.abc import Iterable, Sequence
from random import Random

from engine.search.trial import Source, Trial, Work
from engine.search.units import union
from engine.skipset import SkipSet


class Memory:
    """Trials by skip set and prompts. Without ``dice`` it proposes nothing: ``greedy``, warm start and refinement."""

    def __init__(self, dice: Random | None = None) -> None:
        self.trials: dict[tuple[SkipSet, int], Trial] = {}
        self._dice = dice

    @property
    def can_propose(self) -> bool:
        return self._dice is not None

    def find(self, skip_set: SkipSet, prompts: int) -> Trial | None:
        return self.trials.get((skip_set, prompts))

    def claim(self, skip_set: SkipSet, source: Source, prompts: int) -> bool:
        return True

    def record(self, trial: Trial) -> None:
        self.trials[trial.skip_set, trial.prompts] = trial

    def propose(self, free: Iterable[SkipSet]) -> SkipSet | None:
        if self._dice is None:
            return None
        share = self._dice.random()
        return union(unit for unit in free if self._dice.random() < share)

    def plan(self, skip_sets: Sequence[SkipSet], source: Source, prompts: int) -> None:
        """Nobody helps."""

    def help(self) -> Work | None:
        return None
