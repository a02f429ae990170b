"""The adaptive exit of Draft & Verify: stop drafting where the draft is unsure, and learn what unsure means.

Zhang et al., arXiv 2309.08168, section 3.3, equations 4 and 5.
"""

from dataclasses import dataclass

_TARGET = 0.9  # acceptance rate that is aimed at
_STEP = 0.01
_KEEP_RATE = 0.5  # beta 1
_KEEP_THRESHOLD = 0.9  # beta 2


@dataclass(slots=True)
class AdaptiveExit:
    """The threshold of the draft's probability, moved after each verify towards the target acceptance."""

    threshold: float = 0.6
    rate: float = _TARGET

    def learn(self, drafted: int, accepted: int, most: int) -> None:
        """Take the outcome of one row's verify; ``most`` drafts were allowed."""
        if not drafted:
            return
        self.rate = _KEEP_RATE * self.rate + (1 - _KEEP_RATE) * accepted / drafted
        moved = self.threshold
        if self.rate < _TARGET:
            moved += _STEP
        elif drafted < most:
            moved -= _STEP
        self.threshold = _KEEP_THRESHOLD * self.threshold + (1 - _KEEP_THRESHOLD) * moved
