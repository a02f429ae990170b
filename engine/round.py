"""The drafts of one round: what each row could draft, what pays, the drafts, and learning from the verify."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from engine.confidence import Confidence
from engine.control import Controller, Decision
from engine.draft.exit import AdaptiveExit
from engine.draft.skip import SkipDrafter
from engine.goodput import Bid, Plan
from engine.request import Drafter, Exit
from engine.row import Row


@dataclass(frozen=True, slots=True)
class Drafted:
    """What one row brings to the verify: looked-up tokens, then skip drafts; ``drafter`` is who proposed them."""

    drafter: Drafter
    head: Sequence[int] = ()
    skipped: Sequence[int] = ()

    @property
    def tokens(self) -> list[int]:
        return [*self.head, *self.skipped]


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """What one round did: rows, widths of its draft passes and of its verify, tokens it added to texts.

    ``drafter`` is what drafted for the rows that leave the choice to the engine. ``seconds`` went by from its first
    draft to its last accepted token.
    """

    batch: int
    drafter: Drafter
    draft_widths: tuple[int, ...]
    width: int
    tokens: int
    seconds: float = 0.0

    @property
    def draft_steps(self) -> int:
        return len(self.draft_widths)


@dataclass(frozen=True, slots=True)
class Round:
    """The drafts of all rows, and how they were decided on; ``began`` is when, by the performance counter."""

    rows: Sequence[Row]
    bids: Sequence[Bid]
    drafted: Sequence[Drafted]
    decision: Decision
    began: float

    @property
    def draft_widths(self) -> tuple[int, ...]:
        steps = max((len(draft.skipped) for draft in self.drafted), default=0)
        first = max((len(draft.head) for draft in self.drafted if draft.skipped), default=0)
        return (1 + first, *[1] * (steps - 1)) if steps else ()

    @property
    def width(self) -> int:
        return 1 + max(len(draft.head) + len(draft.skipped) for draft in self.drafted)

    def record(self, tokens: int) -> RoundRecord:
        auto = self.decision.plans.get(Drafter.AUTO)
        asked = next((bid.asked for bid in self.bids), Drafter.PLAIN)
        drafter = auto.drafter if auto else asked
        seconds = perf_counter() - self.began
        return RoundRecord(len(self.rows), drafter, self.draft_widths, self.width, tokens, seconds)


class Drafters:
    """Proposes for every row of a round."""

    def __init__(
        self,
        skip: SkipDrafter | None,
        controller: Controller,
        most: int,
        leave: Exit = Exit.GOODPUT,
        confidence: Confidence | None = None,
        skip_set_id: str | None = None,
    ) -> None:
        self._skip = skip
        self._controller = controller
        self._most = self._widest = most
        self._confidence = confidence or Confidence()
        self.skip_set_id = skip_set_id  # who skips, for statistics
        self._exit = AdaptiveExit() if leave is Exit.ADAPTIVE else None

    def propose(self, rows: Sequence[Row], slot_end: int, is_padded: bool) -> Round:
        """Drafts for each row, never beyond what it may still generate nor the end of its slot."""
        began = perf_counter()
        num_drawn = sum(_is_drawn(row) for row in rows)
        may_pay = is_padded or self._controller.may_pay(len(rows), num_drawn)
        bids = [self._bid(row, slot_end, may_pay) for row in rows]
        decision = self._controller.decide(bids, is_padded)
        plans = [decision.plans[bid.asked] for bid in bids]
        heads = [_head(bid, plan) for bid, plan in zip(bids, plans, strict=True)]
        limits = [_rest(bid, plan, head) for bid, plan, head in zip(bids, plans, heads, strict=True)]
        skipped = self._skipped(rows, heads, limits)
        drafted = [Drafted(_drafter(head, tail), head, tail) for head, tail in zip(heads, skipped, strict=True)]
        return Round(rows, bids, drafted, decision, began)

    def plain(self, rows: Sequence[Row]) -> Round:
        """No drafts for any row."""
        began = perf_counter()
        bids = [Bid(row.request.drafter) for row in rows]
        return Round(rows, bids, [Drafted(Drafter.PLAIN) for _ in rows], Decision({Drafter.AUTO: Plan()}), began)

    def learn(self, this: Round, index: int, picked: Sequence[int], accepted: int) -> None:
        """Score a row's drafts, made or imagined, against what the full network picked behind its pending token."""
        row, bid, draft = this.rows[index], this.bids[index], this.drafted[index]
        text = picked[: accepted + 1]
        self._confidence.learn_lookups(row.lookups, bid.match, bid.looked_up, text)
        if accepted >= len(draft.head):
            self._confidence.learn_skips(row.skips, draft.skipped, text[len(draft.head) :])
        if self._exit is not None and draft.skipped:
            self._exit.learn(len(draft.tokens), accepted, self._most)

    def shorten(self) -> bool:
        """From now on draft half as far; False when nothing is drafted any more."""
        was, self._most = self._most, self._most // 2
        return was > 0

    def lengthen(self) -> None:
        """Draft twice as far again, as far as at first."""
        self._most = min(max(1, 2 * self._most), self._widest)

    def settle(self, this: Round, tokens: int) -> None:
        """Note what the round brought in all."""
        self._controller.settle(this.decision, tokens)

    def _bid(self, row: Row, slot_end: int, may_pay: bool) -> Bid:
        asked = row.request.drafter
        room = 0 if row.shuns_drafts else min(row.tokens_left - 1, slot_end - row.length - 1, self._most)
        if asked is Drafter.PLAIN or (asked is Drafter.AUTO and not may_pay) or room < 1:
            return Bid(asked, is_drawn=_is_drawn(row))
        can_skip = self._skip is not None and asked is not Drafter.LOOKUP
        skip_rate = self._confidence.skip(row.skips) if can_skip else 0.0
        match = row.index.match() if asked is not Drafter.SKIP else None
        if match is None:
            return Bid(asked, room, skip_rate=skip_rate, is_drawn=_is_drawn(row))
        looked_up = row.index.draft(room)
        rates = self._confidence.lookups(row.lookups, match.length, len(looked_up))
        return Bid(asked, room, looked_up, match.length, rates, skip_rate, _is_drawn(row))

    def _skipped(
        self, rows: Sequence[Row], heads: Sequence[Sequence[int]], limits: Sequence[int]
    ) -> Sequence[list[int]]:
        if self._skip is None or not any(limits):
            return [[] for _ in rows]
        return self._skip.propose(rows, heads, limits, self._exit.threshold if self._exit else 0.0)


def _head(bid: Bid, plan: Plan) -> Sequence[int]:
    """The looked-up tokens of a plan."""
    if plan.drafter is Drafter.LOOKUP:
        return bid.looked_up[: plan.drafts]
    if plan.drafter is Drafter.CASCADE:
        return bid.looked_up[: min(plan.drafts, bid.head)]
    return ()


def _rest(bid: Bid, plan: Plan, head: Sequence[int]) -> int:
    """How many tokens are left for skipping."""
    if plan.drafter not in (Drafter.SKIP, Drafter.CASCADE):
        return 0
    return max(0, min(plan.drafts, bid.room) - len(head))


def _drafter(head: Sequence[int], skipped: Sequence[int]) -> Drafter:
    if head and skipped:
        return Drafter.CASCADE
    return Drafter.LOOKUP if head else Drafter.SKIP if skipped else Drafter.PLAIN


def _is_drawn(row: Row) -> bool:
    return not row.request.sampling.is_greedy


def agreeing(drafts: Sequence[int], picks: Sequence[int]) -> int:
    """How many leading drafts equal the full network's picks."""
    return next(
        (i for i, (draft, picked) in enumerate(zip(drafts, picks, strict=False)) if draft != picked),
        len(drafts),
    )
