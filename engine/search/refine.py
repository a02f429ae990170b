"""Refinement: from a good set, put single units in or out, and swap one for another, until nothing of it helps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, islice

from engine.search.steps import Steps
from engine.search.trial import Source, Trial
from engine.search.units import contains, union, without
from engine.search.warm import AHEAD, Priced, Tell, nobody
from engine.skipset import SkipSet

# Scores a set that only matters if it beats the given trial.
ScoreAgainst = Callable[[Trial, SkipSet], Steps[Trial]]

NOTHING = SkipSet()
_SWAPPED = 4  # units a side that swaps are made of


@dataclass(frozen=True, slots=True)
class Move:
    """Units to take out of a set and to put in."""

    gone: SkipSet = NOTHING
    come: SkipSet = NOTHING

    def applied(self, skip_set: SkipSet) -> SkipSet:
        return union([without(skip_set, self.gone), self.come])


def refine(score: ScoreAgainst, best: Trial, units: Sequence[Priced], tell: Tell = nobody) -> Steps[Trial]:
    """Climb to a set that no move improves. ``score`` gives trials of more or fewer prompts; only equals compare.

    ``tell`` is told the neighbours that come next, unless one before them is better.
    """
    moves = moves_from(best.skip_set, units)
    idle = 0  # moves since the last improvement
    for at in count():
        if idle == len(moves):
            break
        idle += 1
        neighbour = moves[at % len(moves)].applied(best.skip_set)
        if neighbour == best.skip_set:
            continue
        tell(_neighbours(best.skip_set, moves, at + 1, len(moves) - idle), Source.REFINEMENT)
        trial = yield from score(best, neighbour)
        if trial.prompts == best.prompts and trial.speed > best.speed:
            best, idle = trial, 0
    return best


def _neighbours(skip_set: SkipSet, moves: Sequence[Move], start: int, most: int) -> list[SkipSet]:
    """The next neighbours in a circle of moves, from the one at ``start`` on, of at most ``most`` moves."""
    following = (moves[at % len(moves)].applied(skip_set) for at in range(start, start + most))
    return list(islice((one for one in following if one != skip_set), AHEAD))


def moves_from(skip_set: SkipSet, units: Sequence[Priced]) -> list[Move]:
    """Every flip and the likeliest swaps, in the order of their promise: cheap units in, dear ones out, then swaps.

    A unit has a move each way, whichever side it is on now: other moves may bring it to the other one.
    """
    absent = [priced.unit for priced in units if not contains(skip_set, priced.unit)]
    present = [priced.unit for priced in reversed(units) if contains(skip_set, priced.unit)]
    swaps = [Move(gone, come) for gone in present[:_SWAPPED] for come in absent[:_SWAPPED]]
    there = [*(Move(come=unit) for unit in absent), *(Move(gone=unit) for unit in present)]
    back = [*(Move(gone=unit) for unit in absent), *(Move(come=unit) for unit in present)]
    return [*there, *swaps, *back]
