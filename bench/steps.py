"""What single passes cost on this device, timed in turn: verifies of several widths, and the draft view's step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from transformers import PreTrainedModel

from bench.bound import Bound, bound
from bench.report import Spread
from bench.turns import Turn, in_turn, ratio, seconds
from engine.attention import adopt
from engine.cache import CacheShape, SlotCache
from engine.costs import Grid
from engine.passes import Chunk, Pass, logits_of
from engine.sample import pick
from engine.skipset import SkipSet
from engine.view import draft_view

WIDTHS = (1, 2, 4, 6, 8, 16)
_DRAFT = "draft"


@dataclass(frozen=True, slots=True)
class Steps:
    """Passes of ``batch`` rows of ``span`` tokens: seconds of a verify by width and of a draft step, and each relative
    to the plain step (the verify of width 1) of the same round.
    """

    batch: int
    span: int
    verify: dict[int, Spread]
    over_plain: dict[int, Spread]
    draft: Spread | None
    draft_over_plain: Spread | None

    @property
    def plain_s(self) -> float:
        return self.verify[1].median

    def bound(self, acceptance: float) -> Bound:
        """The most that drafting by skipping can gain at these costs."""
        if self.draft_over_plain is None:
            return Bound(1.0, 0)
        widths = tuple(self.over_plain)
        line = Grid((self.batch,), widths, (tuple(one.median for one in self.over_plain.values()),))
        return bound(
            acceptance, self.draft_over_plain.median, lambda drafts: line.of(self.batch, drafts + 1), widths[-1] - 1
        )


def measure(
    network: PreTrainedModel,
    skip_set: SkipSet | None,
    batch: int,
    span: int = 512,
    rounds: int = 9,
    widths: Sequence[int] = WIDTHS,
) -> Steps:
    """Time passes at the end of rows of ``span`` tokens, picks included, after one warm-up of each."""
    adopt(network)
    cache = SlotCache(CacheShape.of(network, batch, span), network.dtype, network.device)
    arms: dict[str, Callable[[], None]] = {
        str(width): partial(_run, network, cache, batch, width, span) for width in widths
    }
    if skip_set is not None:
        arms[_DRAFT] = partial(_run, draft_view(network, skip_set), cache, batch, 1, span)
    in_turn(arms, 1)
    turns: dict[str, list[Turn[None]]] = in_turn(arms, rounds)
    plain = turns["1"]
    return Steps(
        batch,
        span,
        {width: seconds(turns[str(width)]) for width in widths},
        {width: _inverse(ratio(turns[str(width)], plain)) for width in widths},
        seconds(turns[_DRAFT]) if _DRAFT in turns else None,
        _inverse(ratio(turns[_DRAFT], plain)) if _DRAFT in turns else None,
    )


def _run(network: PreTrainedModel, cache: SlotCache, batch: int, width: int, span: int) -> None:
    run = Pass(cache, 0, [Chunk([0] * width, span - width)] * batch)
    pick(logits_of(network, run), [], run.positions)


def _inverse(spread: Spread) -> Spread:
    return Spread(spread.n, 1 / spread.median, 1 / spread.high, 1 / spread.low)
