"""How often drafts turn out right: running counts in which older outcomes fade."""

from collections.abc import Sequence
from dataclasses import dataclass

_DECAY = 0.98  # of the weight of older outcomes, per outcome
_PRIOR_WEIGHT = 8.0  # outcomes that what was assumed before counts for
_MOST = 0.995  # nothing is certain


@dataclass(slots=True)
class Acceptance:
    """The probability that a draft is right whose prefix is right, from ``prior`` and a decayed count of outcomes."""

    prior: float
    right: float = 0.0
    tried: float = 0.0

    def add(self, is_right: bool) -> None:
        """Take the outcome of one draft whose prefix was right."""
        self.right = self.right * _DECAY + is_right
        self.tried = self.tried * _DECAY + 1

    @property
    def rate(self) -> float:
        return (self.right + self.prior * _PRIOR_WEIGHT) / (self.tried + _PRIOR_WEIGHT)


@dataclass(slots=True)
class Record:
    """How much better or worse than predicted one row's drafts do, as a decayed count."""

    right: float = 0.0
    predicted: float = 0.0

    def add(self, is_right: bool, predicted: float) -> None:
        """Take the outcome of one draft and the rate that was predicted for it before looking at the row."""
        self.right = self.right * _DECAY + is_right
        self.predicted = self.predicted * _DECAY + predicted

    def correct(self, predicted: Sequence[float]) -> list[float]:
        """The rates to expect of this row where ``predicted`` are those of all rows."""
        factor = (self.right + _PRIOR_WEIGHT) / (self.predicted + _PRIOR_WEIGHT)
        return [min(_MOST, rate * factor) for rate in predicted]
