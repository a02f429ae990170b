"""The objective: expected tokens per second of a skip set, from one scoring pass per prompt and the device's costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from transformers import PreTrainedModel

from engine.search.costs import Load
from engine.search.meter import Meter, Phase
from engine.search.reference import CHUNK, Reference, References
from engine.search.scoring import Drafts, draft_all
from engine.search.simulate import Reach, simulate_all
from engine.search.steps import Steps
from engine.search.table import Table, exact_table
from engine.search.trial import Source, Trial
from engine.skipset import SkipSet
from engine.view import draft_view

Result = TypeVar("Result")

_TIE = 1e-4  # weight of surprise beside wrong drafts: it orders sets that are wrong equally often


@dataclass(frozen=True, slots=True)
class Plan:
    """How far to draft with a skip set, and how fast that is expected to be over plain decoding."""

    reach: Reach
    speed: float


@dataclass(slots=True)
class _Scored:
    """The passes a candidate has had, in the order of the references."""

    drafts: list[Drafts] = field(default_factory=list)


class Objective:
    """Scores skip sets against references. ``most`` is the longest draft that is weighed, ``chunk`` the widest pass."""

    def __init__(
        self,
        network: PreTrainedModel,
        references: References,
        load: Load,
        most: int,
        meter: Meter,
        block: int = 1,
        chunk: int = CHUNK,
    ) -> None:
        self._network = network
        self._references = references
        self._meter = meter
        self._block = block
        self._chunk = chunk
        self._scored: dict[SkipSet, _Scored] = {}
        self.load = load
        self.most = most

    def score(self, skip_set: SkipSet, source: Source, references: Sequence[Reference]) -> Steps[Trial]:
        """One pass per reference; references scored before are not run again."""
        scored = self._scored.setdefault(skip_set, _Scored())
        view = draft_view(self._network, skip_set)
        for reference in references[len(scored.drafts) :]:
            slot = yield from self._references.fetch(reference)
            cache = self._references.cache
            passes = draft_all(view, cache, slot, reference, block=self._block, most=self._chunk)
            scored.drafts.append((yield from self._metered(passes, Phase.SCORING)))
            yield
        drafts_here = scored.drafts[: len(references)]
        tables = [
            Table.of_first(drafts, self.most, reference.request.max_tokens)
            for drafts, reference in zip(drafts_here, references, strict=True)
        ]
        plan = best_length(tables, skip_set, self.load)
        are_right = np.concatenate([drafts.are_right for drafts in drafts_here])
        surprise = np.concatenate([drafts.surprise for drafts in drafts_here])
        return Trial(
            skip_set,
            source,
            speed=plan.speed,
            spread=_spread(tables, skip_set, self.load, plan.reach),
            acceptance=float(are_right.mean()),
            loss=float(1 - are_right.mean() + _TIE * surprise.clip(max=100).mean()),
            draft_length=plan.reach.most,
            prompts=len(references),
        )

    def drafts(self, skip_set: SkipSet) -> list[Drafts]:
        """What the passes of a scored set said, in the order of the references."""
        return self._scored[skip_set].drafts

    def tables(self, skip_set: SkipSet, references: Sequence[Reference]) -> Steps[list[Table]]:
        """The exact table of each reference."""
        view, tables = draft_view(self._network, skip_set), []
        for reference in references:
            slot = yield from self._references.fetch(reference)
            passes = exact_table(view, self._references.cache, slot, reference, self.most, chunk=self._chunk)
            tables.append((yield from self._metered(passes, Phase.RESCORING)))
        return tables

    def metered(self, work: Callable[[], Result]) -> Result:
        """Do a pass that counts as scoring."""
        with self._meter.on(Phase.SCORING):
            return work()

    def _metered(self, steps: Steps[Result], phase: Phase) -> Steps[Result]:
        while True:
            try:
                with self._meter.on(phase):
                    next(steps)
            except StopIteration as end:
                result: Result = end.value
                return result
            yield


def best_length(tables: Sequence[Table], skip_set: SkipSet, load: Load) -> Plan:
    """The fixed draft length that is fastest. At least 1: a search needs a slope even where plain decoding wins."""
    most = min(table.depth for table in tables)
    plans = []
    for length in range(1, most + 1):
        reach = Reach(length)
        plans.append(Plan(reach, load.speed(simulate_all(tables, reach), skip_set)))
    return max(plans, key=lambda plan: plan.speed)


def best_plan(tables: Sequence[Table], skip_set: SkipSet, load: Load, thresholds: Sequence[float]) -> Plan:
    """The draft length and threshold that are fastest; threshold 0 is a fixed length."""
    most = min(table.depth for table in tables)
    reaches = [Reach(length, threshold) for length in range(1, most + 1) for threshold in (0.0, *thresholds)]
    plans = [Plan(reach, load.speed(simulate_all(tables, reach), skip_set)) for reach in reaches]
    return max(plans, key=lambda plan: plan.speed)


def _spread(tables: Sequence[Table], skip_set: SkipSet, load: Load, reach: Reach) -> float:
    """Standard error of the speed over prompts."""
    if len(tables) < 2:
        return 0.0
    speeds = [load.speed(simulate_all([table], reach), skip_set) for table in tables]
    return float(np.std(speeds, ddof=1) / np.sqrt(len(speeds)))
