"""Expected tokens and cost of every way to draft a round. Pure arithmetic over what is known of each row.

Notation: a row's draft of depth d is right with probability r_d given that those before it were; K drafts give it
E(K) = 1 + r_1 + r_1 r_2 + ... + r_1 ... r_K expected tokens (the bonus token of the full network included).

What counts is 1 / E(K), the rounds that a token of each row takes, as a power mean over rows, and not the tokens of all
rows together: a few rows that run far ahead end a batch no sooner, while every row pays for the columns. The power lets
the rows that gain least count most, for a batch ends with its slowest row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engine.costs import StepCosts
from engine.request import Drafter

Numbers = NDArray[np.float64]
POWER = 4.0  # 1 would be the mean row and infinity the slowest; 1 to 8 were replayed (bench/LOG.md)


@dataclass(frozen=True, slots=True)
class Bid:
    """What one row could draft: ``looked_up`` tokens behind a match, each with its rate; skip drafts up to ``room``.

    ``is_drawn``: its tokens are drawn at a temperature, which costs time at every position.
    """

    asked: Drafter
    room: int = 0
    looked_up: Sequence[int] = ()
    match: int = 0
    rates: Sequence[float] = ()
    skip_rate: float = 0.0
    is_drawn: bool = False

    @property
    def head(self) -> int:
        """Looked-up tokens that a cascade takes before it skips: all, where they are as reliable as skipping."""
        return len(self.rates) if self.rates and self.rates[0] >= self.skip_rate else 0


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows draft: by what, and up to how many tokens each."""

    drafter: Drafter = Drafter.PLAIN
    drafts: int = 0


class Outlook:
    """What a group of rows (at least one) may expect of every drafter and number of drafts.

    ``lookup``, ``skip`` and ``cascade`` are the rounds that a token takes to that power, summed over the rows; every
    array has an entry for each K from 0 to ``most``.
    """

    def __init__(self, bids: Sequence[Bid], most: int) -> None:
        self._bids = bids
        self._most = most

    def __len__(self) -> int:
        return len(self._bids)

    def of(self, drafter: Drafter) -> Numbers:
        """By the drafter; no drafts are none of lookup's."""
        if drafter is Drafter.SKIP:
            return self.skip
        return self.cascade if drafter is Drafter.CASCADE else self.lookup

    @property
    def longest(self) -> int:
        """Tokens that lookup offers a row at most."""
        return max(len(bid.rates) for bid in self._bids)

    @property
    def most_room(self) -> int:
        return max(bid.room for bid in self._bids)

    @cached_property
    def lookup(self) -> Numbers:
        return _powers(self._looked_up)

    @cached_property
    def skip(self) -> Numbers:
        return _powers(self._skipped)

    @cached_property
    def cascade(self) -> Numbers:
        return _powers(np.where(self._depths < self._heads[:, None], self._looked_up, self._skipped))

    @cached_property
    def cascade_steps(self) -> NDArray[np.int64]:
        """Draft passes of a cascade of K drafts."""
        lengths = np.minimum(np.arange(self._most + 1), self._rooms[:, None])
        steps: NDArray[np.int64] = (lengths - self._heads[:, None]).clip(0).max(0)
        return steps

    @property
    def head_width(self) -> int:
        """Columns of a cascade's first draft pass: the pending token and what was looked up."""
        return 1 + max(bid.head for bid in self._bids)

    @cached_property
    def _depths(self) -> NDArray[np.int64]:
        return np.arange(self._most)[None]

    @cached_property
    def _rooms(self) -> NDArray[np.int64]:
        return np.array([bid.room for bid in self._bids], dtype=np.int64)

    @cached_property
    def _heads(self) -> NDArray[np.int64]:
        return np.array([bid.head for bid in self._bids], dtype=np.int64)

    @cached_property
    def _looked_up(self) -> Numbers:
        return np.array([[*bid.rates, *[0.0] * (self._most - len(bid.rates))] for bid in self._bids])

    @cached_property
    def _skipped(self) -> Numbers:
        rates = np.array([bid.skip_rate for bid in self._bids])[:, None]
        return np.where(self._depths < self._rooms[:, None], rates, 0.0)


def _powers(rates: Numbers) -> Numbers:
    """1 / E(K) to the power, summed over rows, from the rates [rows, most] of their drafts."""
    rounds: Numbers = 1 / (1 + rates.cumprod(1).cumsum(1))
    return np.concatenate(([float(len(rates))], (rounds**POWER).sum(0)))


class Prices:
    """Seconds of a round's passes at one batch, of which ``num_drawn`` rows draw their tokens: ``verify`` [width - 1];
    draft passes of one column and of a head.
    """

    def __init__(
        self, costs: StepCosts, batch: int, widest: int, padded: tuple[int, int] | None = None, num_drawn: int = 0
    ) -> None:
        widths, column = range(1, widest + 1), num_drawn * costs.draw
        self.verify: Numbers = np.array([costs.verify.of(*(padded or (batch, one))) + one * column for one in widths])
        heads = [costs.draft.of(batch, width) + column if costs.draft else np.inf for width in widths]
        self._draft: Numbers = np.array(heads)

    @property
    def step(self) -> float:
        """One draft pass of one column."""
        return float(self._draft[0])

    def of(self, drafter: Drafter, outlook: Outlook, width: int = 1, steps: int = 0) -> Numbers:
        """Rounds of K drafts by the drafter; no drafts cost what none of lookup's do."""
        if drafter is Drafter.SKIP:
            return self.skip(width, steps)
        return self.cascade(outlook, width, steps) if drafter is Drafter.CASCADE else self.lookup(width, steps)

    def skip(self, width: int = 1, steps: int = 0) -> Numbers:
        """Rounds of K skip drafts, beside rows that need ``width`` columns and ``steps`` draft passes anyway."""
        drafts = np.arange(len(self.verify))
        return self._verify(width) + np.maximum(drafts, steps) * self.step if np.isfinite(self.step) else _never(drafts)

    def lookup(self, width: int = 1, steps: int = 0) -> Numbers:
        """Rounds of K looked-up drafts."""
        return self._verify(width) + (steps * self.step if steps else 0.0)

    def cascade(self, outlook: Outlook, width: int = 1, steps: int = 0) -> Numbers:
        """Rounds of K drafts, looked up first and skipped then; the looked-up ones widen the first draft pass."""
        if not np.isfinite(self.step):
            return _never(outlook.cascade_steps)
        first = self._draft[min(outlook.head_width, len(self._draft)) - 1] - self.step
        passes = np.maximum(outlook.cascade_steps, steps)
        return self._verify(width) + passes * self.step + np.where(outlook.cascade_steps > 0, first, 0.0)

    def _verify(self, width: int) -> Numbers:
        prices: Numbers = np.maximum(self.verify, self.verify[width - 1])
        return prices


def _never(like: NDArray[np.int64]) -> Numbers:
    prices: Numbers = np.full(like.shape, np.inf)
    return prices
