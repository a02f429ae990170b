"""One pass that drafts from every position of a reference at once, or from a part of them, under a block mask.

The text is cut into blocks. A position sees the full network's keys and values of everything before its block and the
draft's own of its block, which is what the drafts of a round that starts at the block's first position see. Stock
modules run the pass; only the mask and the place of the draft's keys differ from decoding.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from engine import rope
from engine.cache import SlotCache
from engine.passes import Chunk, Pass, logits_of
from engine.sample import pick
from engine.search.reference import CHUNK, Reference
from engine.search.steps import Steps


@dataclass(frozen=True, slots=True)
class Drafts:
    """What a draft view says at each position of a reference, given the true text before it.

    All [width]: ``are_right``: the pick is the full network's; ``confidence``: the draft's probability of its own
    pick; ``surprise``: minus log of its probability of the full network's pick (both of raw logits).
    """

    are_right: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    surprise: NDArray[np.float64]


class ScoringPass(Pass):
    """Tokens ``low`` to ``high`` of those that drafts start from, their keys behind the reference's own in its slot.

    Here columns are not positions: visibility and windows follow positions. No block may lie across ``low``.
    """

    def __init__(
        self, cache: SlotCache, slot: int, reference: Reference, block: int, shift: int, low: int, high: int
    ) -> None:
        super().__init__(cache, slot, [Chunk(reference.inputs[low:high], reference.end)])
        index = torch.arange(low, high, device=self.columns.device)
        begins = torch.div(index - shift, block, rounding_mode="floor") * block + shift
        self._positions = self.columns - reference.width + low
        sets = getattr(self.columns, rope.CARRIED, None)
        if sets is not None:  # rotary modules look for the row's frequencies on its positions
            setattr(self._positions, rope.CARRIED, sets)
        self._begins = begins.clamp(min=0) + reference.start  # position of each block's first token

    @property
    def positions(self) -> torch.Tensor:
        return self._positions

    def _build_mask(self, window: int | None, groups: int) -> torch.Tensor:
        here, begins = self.positions[0], self._begins
        past = torch.arange(self.span - self.width, device=here.device)
        is_mine = (begins == begins.unsqueeze(-1)) & (here <= here.unsqueeze(-1))
        visible = torch.cat((past < begins.unsqueeze(-1), is_mine), dim=-1)  # [width, span]
        if window is not None:
            visible &= torch.cat((past, here)) > here.unsqueeze(-1) - window
        dtype = self._cache.keys[0].dtype
        mask = torch.zeros(visible.shape, dtype=dtype, device=here.device).masked_fill_(~visible, float("-inf"))
        return mask.repeat(groups, 1)[None, None]


def draft_all(
    view: PreTrainedModel,
    cache: SlotCache,
    slot: int,
    reference: Reference,
    *,
    block: int = 1,
    shift: int = 0,
    most: int = CHUNK,
) -> Steps[Drafts]:
    """Draft from every position of a reference that stands in ``slot``, about ``most`` of them a pass.

    Args:
        block: positions that see each other's draft keys; 1 gives the first draft of a round everywhere
        shift: where the first whole block begins
    """
    size = max(1, most // block) * block
    bounds = [0, *range(shift + size, reference.width, size), reference.width]
    parts: list[Drafts | None] = []
    for low, high in pairwise(bounds):
        if parts:
            yield
        parts.append(_draft(view, reference, ScoringPass(cache, slot, reference, block, shift, low, high), low))
        if parts[-1] is None:
            cache.clear(slot, reference.end)  # a NaN under the mask of the next pass would spread
    widths = [high - low for low, high in pairwise(bounds)]
    whole = [_nothing(width) if part is None else part for part, width in zip(parts, widths, strict=True)]
    return Drafts(*(np.concatenate([getattr(part, name) for part in whole]) for name in Drafts.__slots__))


def _nothing(width: int) -> Drafts:
    return Drafts(np.zeros(width, dtype=bool), np.zeros(width), np.full(width, np.inf))


@torch.inference_mode()
def _draft(view: PreTrainedModel, reference: Reference, run: ScoringPass, low: int) -> Drafts | None:
    """One pass; None where its numbers are not finite."""
    logits, high = logits_of(view, run), low + run.width
    picks = pick(logits, [reference.request.sampling], run.positions, [reference.prefix_of(low, high)])
    if not all(picks.is_finite[0]):
        return None
    picked = run.tokens.new_tensor([picks.tokens[0], reference.picks[low:high]])
    chosen = _log_probabilities(logits[0], picked)
    return Drafts((picked[0] == picked[1]).cpu().numpy(), np.exp(chosen[0]), -chosen[1])


def _log_probabilities(logits: torch.Tensor, tokens: torch.Tensor) -> Any:
    """Log-probabilities [2, width] of tokens [2, width] under logits [width, vocabulary]."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return (wide.gather(-1, tokens.T).T - wide.logsumexp(-1)).double().cpu().numpy()
