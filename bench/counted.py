"""Decoding time counted in step costs instead of read off the clock: free of what else runs on the machine.

Every round's passes are priced at what passes of their batch and width cost when the engine measured them.
"""

from collections.abc import Iterable

from engine.costs import StepCosts
from engine.round import RoundRecord


def counted_s(rounds: Iterable[RoundRecord], costs: StepCosts) -> float:
    """Seconds of all rounds' draft passes and verifies."""
    return sum(cost_of(one, costs) for one in rounds)


def cost_of(one: RoundRecord, costs: StepCosts) -> float:
    verify = costs.verify.of(one.batch, one.width)
    draft = costs.draft
    return verify + sum(draft.of(one.batch, width) for width in one.draft_widths) if draft is not None else verify
