"""How to draft a round: the drafter and the number of drafts with which a token of each row takes the least time.

No drafts at all is one of the choices, so that drafting never costs throughput. Rows that ask for a drafter get it, as
far as it pays; the others choose together, knowing what those passes cost anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.costs import StepCosts
from engine.goodput import POWER, Bid, Numbers, Outlook, Plan, Prices
from engine.probes import Probes
from engine.request import Drafter, Exit

_PROBE = Plan(Drafter.SKIP, 1)
_MARGIN = 0.04  # that lookup must promise over no drafts: rates of matches, the best length taken, promise too much


@dataclass(slots=True)
class _Load:
    """A round's rows in all, and what those that asked for a drafter bring: the rounds that a token takes to
    their power, summed over them; columns; draft passes.
    """

    rows: int
    powers: float = 0.0
    width: int = 1
    steps: int = 0

    def add(self, plan: Plan, outlook: Outlook) -> None:
        self.powers += float(outlook.of(plan.drafter)[plan.drafts])
        drafts = min(plan.drafts, outlook.longest if plan.drafter is Drafter.LOOKUP else outlook.most_room)
        self.width = max(self.width, drafts + 1)
        if plan.drafter is Drafter.SKIP:
            self.steps = max(self.steps, drafts)
        elif plan.drafter is Drafter.CASCADE:
            self.steps = max(self.steps, int(outlook.cascade_steps[plan.drafts]))


@dataclass(slots=True)
class Decision:
    """The plans of a round by what rows asked for, and what the best one promised."""

    plans: dict[Drafter, Plan]
    is_probe: bool = False
    best_rate: float = 1.0  # tokens per second that the best plan promised
    cost_s: float = 0.0


class Controller:
    """Plans rounds of at most ``most`` drafts. ``padded``: the (batch, width) that reproducible passes always have."""

    def __init__(
        self, costs: StepCosts, most: int, padded: tuple[int, int], *, can_skip: bool, leave: Exit = Exit.GOODPUT
    ) -> None:
        self._costs = costs
        self._most = most
        self._padded = padded
        self._can_skip = can_skip
        self._leave = leave
        self._probes = Probes()
        self._prices: dict[tuple[int, int, bool], Prices] = {}

    def may_pay(self, batch: int, num_drawn: int = 0) -> bool:
        """Whether drafts that all turn out right would be worth their cost."""
        prices = self._priced(batch, num_drawn, is_padded=False)
        right = np.arange(1.0, self._most + 2)
        return bool((prices.verify / right).min() < prices.verify[0] * 0.9999)

    def decide(self, bids: Sequence[Bid], is_padded: bool) -> Decision:
        """The plans of a round with these rows."""
        prices = self._priced(len(bids), sum(bid.is_drawn for bid in bids), is_padded)
        most = min(self._most, self._padded[1] - 1) if is_padded else self._most
        load = _Load(len(bids))
        plans = {Drafter.PLAIN: Plan()}
        groups = {asked: [bid for bid in bids if bid.asked is asked] for asked in Drafter}
        for asked in (Drafter.LOOKUP, Drafter.SKIP, Drafter.CASCADE):
            if groups[asked]:
                outlook = Outlook(groups[asked], self._most)
                others = len(bids) - len(groups[asked])
                plans[asked] = self._asked(asked, outlook, prices, others, most)
                load.add(plans[asked], outlook)
        load.powers += len(groups[Drafter.PLAIN])
        if not groups[Drafter.AUTO]:
            return Decision(plans)
        return self._chosen(Outlook(groups[Drafter.AUTO], self._most), prices, load, most, plans)

    def settle(self, decision: Decision, tokens: int) -> None:
        """Note what a decided round brought."""
        self._probes.pay(decision.cost_s, tokens, decision.best_rate, decision.is_probe)

    def _asked(self, asked: Drafter, outlook: Outlook, prices: Prices, others: int, most: int) -> Plan:
        """As many drafts as pay by the drafter that was asked for, but at least one."""
        if self._leave is not Exit.GOODPUT:
            return Plan(asked, most)
        times = _times(asked, outlook, prices, _Load(len(outlook) + others, others))
        return Plan(asked, 1 + int(times[1 : most + 1].argmin()) if most else 0)

    def _chosen(self, outlook: Outlook, prices: Prices, load: _Load, most: int, plans: dict[Drafter, Plan]) -> Decision:
        kinds = [Drafter.LOOKUP]
        if self._can_skip and outlook.most_room:
            kinds += [Drafter.SKIP, Drafter.CASCADE]
        best, least = Plan(), float(_times(Drafter.LOOKUP, outlook, prices, load)[0])
        bar = least * (1 - _MARGIN)
        for kind in kinds:
            times = _times(kind, outlook, prices, load)[: most + 1]
            count = int(times.argmin())
            if count and times[count] < (bar if kind is Drafter.LOOKUP else least):
                best, least = Plan(kind, count), float(times[count])
        is_probe = best.drafter in (Drafter.PLAIN, Drafter.LOOKUP) and self._probe_pays(
            outlook, prices, load, least, most
        )
        plan = plans[Drafter.AUTO] = _PROBE if is_probe else best
        cost = float(prices.of(plan.drafter, outlook, load.width, load.steps)[plan.drafts])
        return Decision(plans, is_probe, 1 / least, cost)

    def _probe_pays(self, outlook: Outlook, prices: Prices, load: _Load, least: float, most: int) -> bool:
        """Whether skipping, were it always right, would beat the best plan, and a probe is affordable."""
        if not (self._can_skip and outlook.most_room and most):
            return False
        seconds = prices.skip(load.width, load.steps)[: most + 1]
        right = load.powers + len(outlook) / np.arange(1.0, most + 2) ** POWER
        beats = bool(_per_token(seconds, right, load.rows).min() < least)
        return beats and self._probes.may(float(seconds[_PROBE.drafts]) - load.rows * least)

    def _priced(self, batch: int, num_drawn: int, is_padded: bool) -> Prices:
        key = batch, num_drawn, is_padded
        if key not in self._prices:
            padded = self._padded if is_padded else None
            self._prices[key] = Prices(self._costs, batch, self._most + 1, padded, num_drawn)
        return self._prices[key]


def _times(kind: Drafter, outlook: Outlook, prices: Prices, load: _Load) -> Numbers:
    """Seconds that a token takes, by K."""
    return _per_token(prices.of(kind, outlook, load.width, load.steps), load.powers + outlook.of(kind), load.rows)


def _per_token(round_s: Numbers, powers: Numbers, rows: int) -> Numbers:
    """Seconds that a token takes where rows, which share the passes, take rounds for it whose powers sum up so."""
    seconds: Numbers = round_s * (powers / rows) ** (1 / POWER) / rows
    return seconds
