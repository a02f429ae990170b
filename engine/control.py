"""How to draft a round: the drafter and the number of drafts that make the most expected tokens per second.

No drafts at all is one of the choices, so that drafting never costs throughput. Rows that ask for a drafter get it, as
far as it pays; the others choose together, knowing what those passes cost anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.costs import StepCosts
from engine.goodput import Bid, Numbers, Outlook, Plan, Prices
from engine.probes import Probes
from engine.request import Drafter, Exit

_PROBE = 2  # drafts of a probe
_DOUBT = 0.02  # drafts have to promise so much more than none: the best of many uncertain promises is promised too much


@dataclass(slots=True)
class _Load:
    """What the rows that asked for a drafter bring: expected tokens, columns, draft passes."""

    tokens: float = 0.0
    width: int = 1
    steps: int = 0

    def add(self, plan: Plan, outlook: Outlook, tokens: float) -> None:
        self.tokens += tokens
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
    best_rate: float = 1.0  # expected tokens per second
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
        self._prices: dict[tuple[int, bool], Prices] = {}

    def may_pay(self, batch: int) -> bool:
        """Whether drafts that all turn out right would be worth their cost."""
        prices = self._priced(batch, is_padded=False)
        right = np.arange(1.0, self._most + 2)
        return bool((right / prices.verify).max() > right[0] / prices.verify[0] * 1.0001)

    def decide(self, bids: Sequence[Bid], is_padded: bool) -> Decision:
        """The plans of a round with these rows."""
        prices = self._priced(len(bids), is_padded)
        most = min(self._most, self._padded[1] - 1) if is_padded else self._most
        load = _Load()
        plans = {Drafter.PLAIN: Plan()}
        groups = {asked: [bid for bid in bids if bid.asked is asked] for asked in Drafter}
        for asked in (Drafter.LOOKUP, Drafter.SKIP, Drafter.CASCADE):
            if groups[asked]:
                outlook = Outlook(groups[asked], self._most)
                others = float(len(bids) - len(groups[asked]))
                plans[asked] = self._asked(asked, outlook, prices, others, most)
                load.add(plans[asked], outlook, float(_expected(plans[asked], outlook)))
        load.tokens += len(groups[Drafter.PLAIN])
        if not groups[Drafter.AUTO]:
            return Decision(plans)
        return self._chosen(Outlook(groups[Drafter.AUTO], self._most), prices, load, most, plans)

    def settle(self, decision: Decision, tokens: int) -> None:
        """Note what a decided round brought."""
        self._probes.pay(decision.cost_s, tokens, decision.best_rate, decision.is_probe)

    def _asked(self, asked: Drafter, outlook: Outlook, prices: Prices, others: float, most: int) -> Plan:
        """As many drafts as pay by the drafter that was asked for, but at least one."""
        if self._leave is not Exit.GOODPUT:
            return Plan(asked, most)
        values = self._values(asked, outlook, prices, _Load(others))
        return Plan(asked, 1 + int(values[1 : most + 1].argmax()) if most else 0)

    def _chosen(self, outlook: Outlook, prices: Prices, load: _Load, most: int, plans: dict[Drafter, Plan]) -> Decision:
        kinds = [Drafter.LOOKUP]
        if self._can_skip and outlook.most_room:
            kinds += [Drafter.SKIP, Drafter.CASCADE]
        best, rate, bar = Plan(), 0.0, 0.0
        for kind in kinds:
            values = self._values(kind, outlook, prices, load)[: most + 1]
            bar = max(bar, float(values[0]) * (1 + _DOUBT))
            count = int(values.argmax()) if values.max() > bar else 0
            if values[count] > rate:
                best, rate = Plan(kind if count else Drafter.PLAIN, count), float(values[count])
        is_probe = best.drafter in (Drafter.PLAIN, Drafter.LOOKUP) and self._probe_pays(
            outlook, prices, load, rate, most
        )
        plans[Drafter.AUTO] = Plan(Drafter.SKIP, min(_PROBE, most)) if is_probe else best
        cost = self._cost(plans[Drafter.AUTO], outlook, prices, load)
        return Decision(plans, is_probe, rate, cost)

    def _probe_pays(self, outlook: Outlook, prices: Prices, load: _Load, rate: float, most: int) -> bool:
        """Whether skipping, were it always right, would beat the best plan, and a probe is affordable."""
        if not (self._can_skip and outlook.most_room and most) or not self._probes.may(float(prices.verify[0])):
            return False
        right = load.tokens + np.arange(1, most + 2) * len(outlook)
        return bool((right / prices.skip(load.width, load.steps)[: most + 1]).max() > rate)

    def _values(self, kind: Drafter, outlook: Outlook, prices: Prices, load: _Load) -> Numbers:
        """Expected tokens per second of K drafts, for each K."""
        if kind is Drafter.LOOKUP:
            return (load.tokens + outlook.lookup) / prices.lookup(load.width, load.steps)
        if kind is Drafter.SKIP:
            return (load.tokens + outlook.skip) / prices.skip(load.width, load.steps)
        return (load.tokens + outlook.cascade) / prices.cascade(outlook, load.width, load.steps)

    def _cost(self, plan: Plan, outlook: Outlook, prices: Prices, load: _Load) -> float:
        if plan.drafter is Drafter.SKIP:
            return float(prices.skip(load.width, load.steps)[plan.drafts])
        if plan.drafter is Drafter.CASCADE:
            return float(prices.cascade(outlook, load.width, load.steps)[plan.drafts])
        return float(prices.lookup(load.width, load.steps)[plan.drafts])

    def _priced(self, batch: int, is_padded: bool) -> Prices:
        key = batch, is_padded
        if key not in self._prices:
            padded = self._padded if is_padded else None
            self._prices[key] = Prices(self._costs, batch, self._most + 1, padded)
        return self._prices[key]


def _expected(plan: Plan, outlook: Outlook) -> float:
    tokens = {Drafter.LOOKUP: outlook.lookup, Drafter.SKIP: outlook.skip, Drafter.CASCADE: outlook.cascade}
    return float(tokens[plan.drafter][plan.drafts])
