"""A search on a network that serves: its own slots beside the engine's, this device's costs, then the search itself.

Rows keep every slot of theirs, so no admission waits for a search and no pass of a search touches what a row wrote.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

from transformers import PreTrainedModel

from engine.cache import CacheShape, SlotCache
from engine.costs import Grid
from engine.errors import BadRequest
from engine.lineup import BatchClass
from engine.memory import free_memory
from engine.search.costs import Load, measure
from engine.search.decode import Stopwatch
from engine.search.finalists import Verdict
from engine.search.helper import lend_a_hand
from engine.search.meter import Meter, Phase
from engine.search.objective import Objective
from engine.search.reference import CHUNK, References
from engine.search.search import Budget, Calibration, Search, Settings, check
from engine.search.stage import Stage
from engine.search.steps import Steps
from engine.search.timing import PassTimer
from engine.search.trial import Notebook, Trial
from engine.skipset import SkipSet

_MOST = 8  # drafts of a round that are weighed
_SLOTS = 16  # references held at once, at most
_SHARE = 0.25  # of the free memory that a search may take for them
_TIMED = 4  # held-out prompts that finalists are timed on, at most; repeated where a full batch needs more
_BATCHES = {BatchClass.ONE: 1, BatchClass.FEW: 3, BatchClass.MANY: 8}  # rows that stand for a class


_SETTINGS = Settings()


@dataclass(frozen=True, slots=True)
class Wish:
    """What is searched for.

    ``spent`` are device seconds by phase that the same search took before it was interrupted: they count. ``load`` is
    what its trials so far were priced by, measured here where it is None; ``helps`` scores what another search plans.
    """

    calibration: Calibration
    batch_class: BatchClass
    budget: Budget
    incumbent: SkipSet | None = None
    settings: Settings = _SETTINGS
    spent: tuple[tuple[Phase, float], ...] = ()
    load: Load | None = None
    helps: bool = False


class Run:
    """One search, from nothing to its verdict, or a helper of one. ``rows`` is how many the device decodes at once,
    ``chunk`` how many tokens it prefills in a unit.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        wish: Wish,
        notebook: Notebook,
        *,
        length: int,
        rows: int,
        eos: frozenset[int],
        chunk: int,
    ) -> None:
        """
        Raises: Unsupported for a family that cannot skip; BadRequest for a network too small, a prompt that does not
            fit ``length``, or a load that the device cannot bear.
        """
        check(network)
        _check_prompts(wish.calibration, length)
        self._batch = min(_BATCHES[wish.batch_class], rows)
        if BatchClass.of(self._batch) is not wish.batch_class:
            raise BadRequest(f"this device decodes {rows} rows at once", code="too_few_rows", parameter="batch_class")
        self._network, self._wish, self._notebook = network, wish, notebook
        self._eos, self._chunk = eos, chunk
        self.meter = Meter(network.device)
        self.meter.seconds.update(wish.spent)
        self.load = wish.load  # what trials are priced by, once it is known
        self.search: Search | None = None  # from then on, unless it helps
        self._steps = self._run()

    def step(self) -> bool:
        """Do one unit; False when the verdict is there."""
        try:
            next(self._steps)
        except StopIteration:
            return False
        return True

    @property
    def layers(self) -> int:
        return int(self._network.config.num_hidden_layers)

    @property
    def stage(self) -> Stage:
        return Stage.REFERENCES if self.search is None else self.search.stage

    @property
    def best(self) -> Trial | None:
        return None if self.search is None else self.search.best

    @property
    def trials(self) -> Sequence[Trial]:
        return () if self.search is None else list(self.search.trials.values())

    @property
    def verdict(self) -> Verdict | None:
        return None if self.search is None else self.search.verdict

    def _run(self) -> Steps[None]:
        wish, held_out = self._wish, self._wish.calibration.held_out
        requests = [*wish.calibration.scored, *held_out]
        length = max(len(one.prompt) + 2 * one.max_tokens for one in requests) + _MOST
        cache = _cache(self._network, max(self._batch, min(_SLOTS, len(wish.calibration.scored))), self._batch, length)
        start = length - _MOST - max(one.max_tokens for one in requests)
        if self.load is None:
            timer = PassTimer(self._network, cache, 0, start, self.meter, self._batch)
            self.load = Load.of((yield from measure(timer, self.layers, _MOST)))
        references = References(
            self._network, cache, range(cache.shape.slots), self._eos, self.meter, chunk=self._chunk
        )
        objective = Objective(self._network, references, self.load, _MOST, self.meter, chunk=self._chunk)
        if wish.helps:
            yield from lend_a_hand(references, objective, wish.calibration.scored, self._notebook)
        timed = list(islice(cycle(held_out[:_TIMED]), max(min(_TIMED, len(held_out)), self._batch)))
        self.search = Search(
            self._network,
            references,
            objective,
            wish.calibration,
            self._notebook,
            self.meter,
            time_contender=Stopwatch(
                self._network, cache, 0, timed, self._eos, self.meter, batch=self._batch, chunk=self._chunk
            ),
            incumbent=wish.incumbent,
            budget=wish.budget,
            settings=replace(wish.settings, few=min(wish.settings.few, len(wish.calibration.scored))),
        )
        while self.search.step():
            yield


def _check_prompts(calibration: Calibration, length: int) -> None:
    for one in (*calibration.scored, *calibration.held_out):
        if len(one.prompt) + 2 * one.max_tokens > length:
            raise BadRequest(
                f"calibration prompt {one.id}: {len(one.prompt)} tokens and twice {one.max_tokens} more exceed the"
                f" context of {length} tokens",
                code="context_length_exceeded",
                parameter="calibration",
            )


def _cache(network: PreTrainedModel, slots: int, least: int, length: int) -> SlotCache:
    """Slots for references, as many as the memory spares, but at least ``least``."""
    shape = CacheShape.of(network, slots, length)
    free = free_memory(network)
    if free is not None:
        room = int(free * _SHARE) // (shape.elements_per_slot * network.dtype.itemsize) - 1  # beside the scratch slot
        shape = replace(shape, slots=max(least, min(slots, room)))
    return SlotCache(shape, network.dtype, network.device)


def token_chunk(verify: Grid, unit_s: float) -> int:
    """How many tokens of one row a pass may have to take ``unit_s``, by what verifies cost; at least 16."""
    widest = verify.widths[-1]
    one, most = verify.of(1, 1), verify.of(1, widest)
    each = max(most - one, 1e-9) / max(widest - 1, 1)
    return max(16, min(CHUNK, 1 + int((unit_s - one) / each)))


def spent_of(seconds: Mapping[str, float]) -> tuple[tuple[Phase, float], ...]:
    """Device seconds by phase, from names; what is no phase is left out."""
    return tuple((Phase(name), value) for name, value in seconds.items() if name in {phase.value for phase in Phase})
