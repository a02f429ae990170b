"""The warm start: leave one out, pairs that cancel, and a lazy greedy frontier over what they show.

Greedy by the price of a unit: draft losses it adds over time it saves. Lazy (Minoux 1978): prices mostly rise as the
set grows, so only the unit that looks cheapest is scored again before it is taken.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.search.costs import Load
from engine.search.pairs import Pair
from engine.search.steps import Steps
from engine.search.trial import Source, Trial
from engine.search.units import contains, disjoint, singles, union
from engine.skipset import SkipSet

Score = Callable[[SkipSet, Source], Steps[Trial]]
Tell = Callable[[Sequence[SkipSet], Source], None]  # hears what will probably be scored next

AHEAD = 8  # sets that are told where it is a guess what comes next: one for each worker that there may be

_HARMLESS = 0.01  # wrong first drafts below which a unit alone does no harm
_HOPELESS = 0.6  # wrong first drafts of a unit alone above which no set with it is tried
_FALLEN = 0.9  # of the best speed: the frontier ends below it


@dataclass(frozen=True, slots=True)
class Priced:
    """A unit and what it costs when skipped alone: wrong first drafts per share of a step saved."""

    unit: SkipSet
    price: float


def nobody(skip_sets: Sequence[SkipSet], source: Source) -> None:
    """Hears what is planned where nobody helps."""


def leave_one_out(score: Score, load: Load, pairs: Sequence[Pair], tell: Tell = nobody) -> Steps[list[Priced]]:
    """Score every sub-layer alone, then the cancelling pairs of which a half does harm; the cheapest units first.

    A pair that is cheaper than its halves takes their place.
    """
    tell(singles(load.layers), Source.LEAVE_ONE_OUT)
    empty = yield from score(SkipSet(), Source.EMPTY)
    alone: dict[SkipSet, Trial] = {}
    for unit in singles(load.layers):
        alone[unit] = yield from score(unit, Source.LEAVE_ONE_OUT)
    together = yield from _pairs(score, alone, pairs, tell)
    halves = union(pair.skip_set for pair in together)
    usable = [*together, *(t for unit, t in alone.items() if not contains(halves, unit) and t.loss < _HOPELESS)]
    return sorted((Priced(t.skip_set, _price(t, empty, load)) for t in usable), key=lambda priced: priced.price)


def _pairs(score: Score, alone: dict[SkipSet, Trial], pairs: Sequence[Pair], tell: Tell) -> Steps[list[Trial]]:
    kept = []
    worse = {pair.skip_set: max(alone[half].loss for half in _halves(pair.skip_set)) for pair in pairs}
    harmful = [pair for pair in worse if worse[pair] > 2 * _HARMLESS]
    tried = disjoint(harmful)[: len(alone) // 2]
    tell(tried, Source.PAIR)
    for pair in tried:
        trial = yield from score(pair, Source.PAIR)
        if trial.loss < worse[pair] / 2:
            kept.append(trial)
    return kept


def _halves(pair: SkipSet) -> list[SkipSet]:
    return [*(SkipSet.of([layer]) for layer in pair.attention), *(SkipSet.of((), [layer]) for layer in pair.mlp)]


def _price(trial: Trial, before: Trial, load: Load) -> float:
    """Wrong first drafts that ``trial`` adds per share of a step that it saves."""
    saved = load.saving(trial.skip_set) - load.saving(before.skip_set)
    return (trial.loss - before.loss) / max(saved, 1e-6)


def frontier(
    score: Score, load: Load, units: Sequence[Priced], noise: float, tell: Tell = nobody
) -> Steps[list[Trial]]:
    """Grow a set from nothing, the cheapest unit first, until it is clearly slower than the best on the way.

    ``noise`` is the share of drafts that one wrong draft is: prices that close are taken for equal.
    """
    here = yield from score(SkipSet(), Source.EMPTY)
    path, queue = [here], [(priced.price, index) for index, priced in enumerate(units)]
    heapq.heapify(queue)
    while queue and here.speed >= _FALLEN * max(trial.speed for trial in path):
        _, index = heapq.heappop(queue)
        wanted = union([here.skip_set, units[index].unit])
        cheapest = [units[other].unit for _, other in heapq.nsmallest(AHEAD // 2, queue)]
        tell(_growths(here.skip_set, wanted, cheapest), Source.GREEDY)
        grown = yield from score(wanted, Source.GREEDY)
        price = _price(grown, here, load)
        slack = noise / max(load.saving(grown.skip_set) - load.saving(here.skip_set), 1e-6)
        if queue and price > queue[0][0] + slack:
            heapq.heappush(queue, (price, index))
            continue
        here = grown
        path.append(here)
    return path


def _growths(here: SkipSet, wanted: SkipSet, cheapest: Sequence[SkipSet]) -> list[SkipSet]:
    """What comes after ``wanted``, the likeliest last: other growths if it is refused, its own growths if it is not."""
    others = [union([here, unit]) for unit in reversed(cheapest)]
    own = [union([wanted, *cheapest[: most + 1]]) for most in range(len(cheapest))]
    return [*others, *own]


def peaks(path: Sequence[Trial]) -> list[Trial]:
    """Sets of a frontier faster than those around them, the fastest first: few skipped with long drafts may be one,
    many skipped with short drafts another.
    """
    ring = [None, *path, None]
    tops = [
        here
        for before, here, after in zip(ring, ring[1:], ring[2:], strict=False)
        if here is not None
        and (before is None or here.speed >= before.speed)
        and (after is None or here.speed >= after.speed)
    ]
    return sorted(tops, key=lambda trial: -trial.speed)
