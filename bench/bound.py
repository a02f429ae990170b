"""What drafting can gain at most, given how often drafts are right and what passes cost.

Notation: a = acceptance of a draft whose prefix is right, c = draft step / plain step, v(K) = verify of K drafts and
the pending token / plain step. A round of K drafts adds (1 - a^(K+1)) / (1 - a) tokens and costs K c + v(K) plain
steps.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bound:
    """The best speed-up over plain decoding and the number of drafts that reaches it."""

    speedup: float
    drafts: int


def bound(acceptance: float, draft: float, verify: Callable[[int], float], most: int) -> Bound:
    """S = max over K = 0 .. ``most`` of (1 - a^(K+1)) / ((1 - a) (K c + v(K)))."""
    gains = [
        Bound(tokens(acceptance, drafts) / (drafts * draft + verify(drafts)), drafts) for drafts in range(most + 1)
    ]
    return max(gains, key=lambda one: one.speedup)


def tokens(acceptance: float, drafts: int) -> float:
    """Expected tokens of a round: 1 + a + ... + a^K."""
    return float(sum(acceptance**depth for depth in range(drafts + 1)))
