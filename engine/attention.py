"""The attention function every served network runs: grouped queries over a view of the slot cache.

It knows a pass only as "a mask per window"; scaling and softcap are the layer's own arguments, the window is the
family table's (not every family passes its own down, and one passes it for layers that see everything). Registered with
transformers under ``NAME``, so stock modules call it and no module is copied. Families that do not use the interface
keep their eager attention and take the mask as an argument (`family` says which).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows it by
from transformers import AttentionInterface, PreTrainedModel

from engine.alibi import adopt_biases, biased, has_falcon_biases, stock_biases
from engine.family import FAMILIES, FULL, SLIDING, Mask, family_of, layers_of, windows
from engine.rope import adopt_rope

NAME = "skim"
# The pass rides on the key view that the cache hands out: every family gives that very tensor to its attention, while
# not every family passes keyword arguments down.
CARRIED = "skim_pass"
WINDOW = "skim_window"  # on an adopted attention module: how many positions it sees, None for all
_MARK = torch.zeros((1, 1, 1, 1))


class Masked(Protocol):
    """What attention needs of a pass; the decoding pass and the scoring pass both have it."""

    def mask(self, window: int | None, groups: int) -> torch.Tensor:
        """Additive mask [batch, 1, groups * width, span]: 0 where visible, -inf elsewhere."""
        ...


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # the pass makes the mask
    scaling: float | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one layer over the cache view.

    Query heads that share a kv head are folded into the width, so keys and values are read once and never repeated.

    Args:
        query: [batch, heads, width, head dim]
        key, value: [batch, kv heads, span, head dim], views of the cache

    Returns: ([batch, width, heads, head dim], no weights)
    """
    run: Masked = key.__dict__[CARRIED]
    batch, heads, width, dim = query.shape
    kv_heads = key.shape[1]
    groups = heads // kv_heads
    mask = run.mask(module.__dict__[WINDOW], groups)
    if mask.device != key.device:
        mask = mask.to(key.device, non_blocking=True)
    folded = query.reshape(batch, kv_heads, groups * width, dim)
    if softcap is None:
        out = F.scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scaling)
    else:
        scale = dim**-0.5 if scaling is None else scaling
        scores = softcap * torch.tanh(folded @ key.transpose(-1, -2) * scale / softcap) + mask
        out = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(value.dtype) @ value
    return out.reshape(batch, heads, width, dim).transpose(1, 2), None


def adopt(network: PreTrainedModel) -> None:
    """Make a network fit for passes of ragged rows: its attention, its rotary modules, its position biases.

    Raises: Unsupported for a family that is not in the table.
    """
    family = family_of(network)
    if family.mask is Mask.ADDITIVE:
        network.config._attn_implementation = "eager"
    else:
        network.set_attn_implementation(NAME)
        for layer, window in zip(layers_of(network), windows(network), strict=True):
            getattr(layer, family.attention).__dict__[WINDOW] = window
    adopt_biases(network)
    adopt_rope(network)


def mask_for(network: PreTrainedModel, run: Masked) -> torch.Tensor | dict[str, torch.Tensor]:
    """The mask argument of a network's call: the pass's own mask for a family that adds it to its scores. Elsewhere
    only a mark that keeps transformers from building one, any 4-D tensor, for each type of layer where there are types.
    """
    kind = FAMILIES[network.config.model_type].mask
    if kind is Mask.ADDITIVE:
        return biased(network, run.mask(None, 1))
    return dict.fromkeys((FULL, SLIDING), _MARK) if kind is Mask.BY_TYPE else _MARK


@contextmanager
def stock_attention(network: PreTrainedModel) -> Iterator[None]:
    """Let the network run transformers' own attention for a while."""
    config = network.config
    before = config._attn_implementation
    # Falcon's eager attention counts its position biases twice; the other, which transformers runs unasked, does not.
    config._attn_implementation = "sdpa" if has_falcon_biases(network) else "eager"
    try:
        with stock_biases(network):
            yield
    finally:
        config._attn_implementation = before


AttentionInterface.register(NAME, attend)
