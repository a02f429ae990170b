"""One pass that drafts from every position of a reference at once, under a block mask.

The text is cut into blocks. A position sees the full network's keys and values of everything before its block and the
draft's own of its block, which is what the drafts of a round that starts at the block's first position see. Stock
modules run the pass; only the mask and the place of the draft's keys differ from decoding.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from engine import rope
from engine.cache import SlotCache
from engine.passes import Chunk, Pass, logits_of
from engine.sample import pick
from engine.search.reference import Reference


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
    """The tokens that drafts start from, with their keys behind the reference's own in the same slot.

    Here columns are not positions: visibility and windows follow positions.
    """

    def __init__(self, cache: SlotCache, slot: int, reference: Reference, block: int, shift: int) -> None:
        super().__init__(cache, slot, [Chunk(reference.inputs, reference.end)])
        index = torch.arange(reference.width, device=self.columns.device)
        begins = torch.div(index - shift, block, rounding_mode="floor") * block + shift
        self._positions = self.columns - reference.width
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


@torch.inference_mode()
def draft_all(
    view: PreTrainedModel, cache: SlotCache, slot: int, reference: Reference, block: int = 1, shift: int = 0
) -> Drafts:
    """Draft from every position of a reference that stands in ``slot``.

    Args:
        block: positions that see each other's draft keys; 1 gives the first draft of a round everywhere
        shift: where the first whole block begins
    """
    run = ScoringPass(cache, slot, reference, block, shift)
    logits = logits_of(view, run)
    picks = pick(logits, [reference.request.sampling], run.positions, [reference.prefix])
    if not all(picks.is_finite[0]):
        cache.clear(slot, reference.end)  # a NaN under the mask of the next pass would spread
        nothing = np.zeros(reference.width)
        return Drafts(nothing.astype(bool), nothing, np.full(reference.width, np.inf))
    picked = run.tokens.new_tensor([picks.tokens[0], reference.picks])
    chosen = _log_probabilities(logits[0], picked)
    return Drafts((picked[0] == picked[1]).cpu().numpy(), np.exp(chosen[0]), -chosen[1])


def _log_probabilities(logits: torch.Tensor, tokens: torch.Tensor) -> Any:
    """Log-probabilities [2, width] of tokens [2, width] under logits [width, vocabulary]."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return (wide.gather(-1, tokens.T).T - wide.logsumexp(-1)).double().cpu().numpy()
