"""Decoding time counted in step costs instead of read off the clock: free of what else runs on the machine.

Every round's passes are priced at what passes of their batch and width cost when the engine measured them.
"""

from collections.abc import Iterable, Sequence

from engine.costs import Grid, StepCosts
from engine.round import RoundRecord


def counted_s(rounds: Iterable[RoundRecord], costs: StepCosts) -> float:
    """Seconds of all rounds' draft passes and verifies."""
    return sum(cost_of(one, costs) for one in rounds)


def cost_of(one: RoundRecord, costs: StepCosts) -> float:
    verify = costs.verify.of(one.batch, one.width)
    draft = costs.draft
    return verify + sum(draft.of(one.batch, width) for width in one.draft_widths) if draft is not None else verify


def least(measured: Sequence[StepCosts]) -> StepCosts:
    """The smallest time of every pass; all were measured over the same batches and widths."""
    drafts = [one.draft for one in measured if one.draft is not None]
    draw = min(one.draw for one in measured)
    return StepCosts(_least([one.verify for one in measured]), _least(drafts) if drafts else None, draw)


def _least(grids: Sequence[Grid]) -> Grid:
    lines = zip(*(grid.seconds for grid in grids), strict=True)  # for each batch the lines of all measurements
    seconds = tuple(tuple(map(min, zip(*same, strict=True))) for same in lines)
    return Grid(grids[0].batches, grids[0].widths, seconds)
