"""Which skip set drafts at which load: one for each batch class, exchanged between rounds while rows decode."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from engine.round import Drafters
from engine.skipset import SkipSet


class BatchClass(StrEnum):
    """How many rows are decoded together: the best skip set depends on it."""

    ONE = "1"
    FEW = "2-4"
    MANY = "5+"

    @classmethod
    def of(cls, rows: int) -> "BatchClass":
        return cls.ONE if rows <= 1 else cls.FEW if rows <= 4 else cls.MANY


@dataclass(frozen=True, slots=True)
class Active:
    """What drafts by skipping where nothing else is asked for.

    ``identity`` names the set in statistics; None for the one that networks start with. ``share``: a draft step over a
    plain one; ``acceptance``: of its first drafts; both as whoever found the set measured them, None where nobody has.
    ``is_plain``: nothing beats plain decoding there, so the set drafts only for rows that ask for it.
    """

    skip_set: SkipSet
    identity: str | None = None
    share: float | None = None
    acceptance: float | None = None
    is_plain: bool = False


class Lineup:
    """The drafters of every batch class. ``make`` builds those of a set, once."""

    def __init__(self, make: Callable[[Active | None], Drafters], start: Active | None) -> None:
        self._make = make
        self.start = start
        self._made = {start: make(start)}
        self._chosen: dict[BatchClass, Active | None] = {}

    def swap(self, chosen: Mapping[BatchClass, Active]) -> None:
        """Draft with other sets from the next round on; classes that are not named draft with the starting set."""
        self._chosen = dict(chosen)
        used = [self.start, *self._chosen.values()]
        self._made = {one: self._made.get(one) or self._make(one) for one in used}

    def at(self, rows: int) -> Drafters:
        """Those that draft for so many rows."""
        return self._made[self._chosen.get(BatchClass.of(rows), self.start)]

    def shorten(self) -> bool:
        """From now on all draft half as far; False when nothing is drafted any more."""
        went_on = [drafters.shorten() for drafters in self._made.values()]  # all of them, whatever the first says
        return any(went_on)

    def lengthen(self) -> None:
        """All may draft twice as far again, as far as they did at first."""
        for drafters in self._made.values():
            drafters.lengthen()
