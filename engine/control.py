"""How far to draft: the width that makes the most expected tokens per second, 0 drafts included.

Notation: a = probability that the next draft is right given that those before it were; K drafts of a row give
E = 1 + a + ... + a^K expected tokens; a round of width w costs C(batch, w) seconds. Choose w to maximise sum(E) / C.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.acceptance import Acceptance
from engine.costs import StepCosts

_ROW_WEIGHT = 8.0  # outcomes of the row itself that weigh as much as those of all rows


@dataclass(frozen=True, slots=True)
class Offer:
    """What lookup could draft for a row: the row's own record, the length of its match, the drafts at hand."""

    record: Acceptance
    match: int
    drafts: int


class Controller:
    """Learns how well lookup matches of each length do and chooses the width of a round from it."""

    def __init__(self, costs: StepCosts) -> None:
        self._costs = costs
        self._by_match: dict[int, Acceptance] = {}

    def learn(self, offer: Offer, accepted: int, drafted: int) -> None:
        """Take the outcome of drafts, made or only imagined beside a plain step."""
        offer.record.add(accepted, drafted)
        self._by_match.setdefault(offer.match, Acceptance()).add(accepted, drafted)

    def drafts(self, offers: Sequence[Offer], batch: int, least: int = 0) -> int:
        """Drafts a row may have in this round: the best common limit, 0 when a plain step is best.

        ``least`` drafts are paid for already, by rows that were told to draft.
        """
        rates = [self._rate(offer) for offer in offers]
        most = max((offer.drafts for offer in offers), default=0)
        return max(range(least, max(least, most) + 1), key=lambda k: self._goodput(offers, rates, batch, k))

    def _rate(self, offer: Offer) -> float:
        seen = self._by_match.get(offer.match, Acceptance())
        return offer.record.rate(seen.rate(), _ROW_WEIGHT)

    def _goodput(self, offers: Sequence[Offer], rates: Sequence[float], batch: int, limit: int) -> float:
        """Expected tokens per second of a round with at most ``limit`` drafts a row."""
        tokens = float(batch - len(offers))
        for offer, rate in zip(offers, rates, strict=True):
            tokens += sum(rate**depth for depth in range(min(offer.drafts, limit) + 1))
        return tokens / self._costs.of(batch, limit + 1)
