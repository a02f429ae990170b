"""The decode loop, played over a table: rounds, drafts and accepted drafts without running the network.

Simulated rather than averaged over starts: rounds start where the last one ended, and they start more often where
drafts fail.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from engine.search.table import Table

_DECAY = 0.5  # of the running acceptance, per round
_TARGET = 0.9  # running acceptance above which drafting longer is tried
_STEP = 0.01  # of the threshold
_INERTIA = 0.9  # of the threshold


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a round drafts: at most ``most`` drafts, and none after one whose probability is under ``threshold``.

    The draft under the threshold is verified too: it is paid for. Threshold 0 is a fixed length. Unless ``is_frozen``
    the threshold follows the acceptance (Draft & Verify, arXiv 2309.08168, section 3.3).
    """

    most: int
    threshold: float = 0.0
    is_frozen: bool = True
    acceptance: float = 1.0

    def after(self, drafted: int, accepted: int) -> "Reach":
        """How far the next round drafts."""
        if self.is_frozen or not drafted:
            return self
        acceptance = _DECAY * self.acceptance + (1 - _DECAY) * accepted / drafted
        if acceptance < _TARGET:
            wanted = self.threshold + _STEP
        else:
            wanted = self.threshold if drafted == self.most else self.threshold - _STEP
        return replace(self, threshold=_INERTIA * self.threshold + (1 - _INERTIA) * wanted, acceptance=acceptance)


@dataclass(slots=True)
class Counts:
    """What decoding came to; ``lengths`` counts rounds by the drafts they made."""

    tokens: int = 0
    accepted: int = 0
    lengths: Counter[int] = field(default_factory=Counter)

    @property
    def rounds(self) -> int:
        return self.lengths.total()

    @property
    def drafted(self) -> int:
        return sum(length * count for length, count in self.lengths.items())

    @property
    def tokens_per_round(self) -> float:
        return self.tokens / self.rounds if self.rounds else 1.0

    def add(self, other: "Counts") -> None:
        self.tokens += other.tokens
        self.accepted += other.accepted
        self.lengths.update(other.lengths)


def simulate(table: Table, reach: Reach) -> Counts:
    """Decode one reference."""
    counts, runs = Counts(), table.runs.tolist()
    certain = table.confidence.tolist() if reach.threshold > 0 else None
    at = 0
    while at < table.width:
        drafted = min(reach.most, table.depth, table.most_tokens - at - 1)
        if certain is not None:
            drafted = next((k + 1 for k in range(drafted) if certain[at][k] < reach.threshold), drafted)
        accepted = min(runs[at], drafted)
        reach = reach.after(drafted, accepted)
        counts.lengths[drafted] += 1
        counts.accepted += accepted
        at += accepted + 1
    counts.tokens = table.width
    return counts


def simulate_all(tables: Iterable[Table], reach: Reach) -> Counts:
    """Decode several references, each from the same first threshold."""
    total = Counts()
    for table in tables:
        total.add(simulate(table, reach))
    return total
