"""How often drafts turn out right: a running count in which older outcomes fade."""

from dataclasses import dataclass

_DECAY = 0.98  # of the weight of older outcomes, per outcome
_PRIOR = 0.4  # acceptance assumed before anything was seen
_PRIOR_WEIGHT = 4.0


@dataclass(slots=True)
class Acceptance:
    """A decayed count of right and tried drafts."""

    right: float = 0.0
    tried: float = 0.0

    def add(self, accepted: int, drafted: int) -> None:
        """Take a verify's outcome: each accepted draft was right, the first rejected one was wrong."""
        tried = min(accepted + 1, drafted)
        keep = _DECAY**tried
        self.right = self.right * keep + accepted
        self.tried = self.tried * keep + tried

    def rate(self, prior: float = _PRIOR, weight: float = _PRIOR_WEIGHT) -> float:
        """Probability that a draft whose prefix is right is right; ``prior`` counts as ``weight`` outcomes."""
        return (self.right + prior * weight) / (self.tried + weight)
