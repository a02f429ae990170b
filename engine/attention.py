"""The attention function every served network runs: grouped queries over a view of the slot cache.

It knows a pass only as "a mask per window"; scaling, window and softcap are the layer's own arguments. Registered with
transformers under ``NAME``, so stock modules call it and no module is copied.
"""

from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows it by
from transformers import AttentionInterface

NAME = "skim"
PASS_ARGUMENT = "skim_pass"  # noqa: S105  the keyword under which layers hand the pass down


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
    run: Masked = kwargs[PASS_ARGUMENT]
    batch, heads, width, dim = query.shape
    kv_heads = key.shape[1]
    groups = heads // kv_heads
    window = kwargs.get("sliding_window") or getattr(module, "sliding_window", None)
    mask = run.mask(window, groups)
    folded = query.reshape(batch, kv_heads, groups * width, dim)
    if softcap is None:
        out = F.scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scaling)
    else:
        scale = dim**-0.5 if scaling is None else scaling
        scores = softcap * torch.tanh(folded @ key.transpose(-1, -2) * scale / softcap) + mask
        out = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(value.dtype) @ value
    return out.reshape(batch, heads, width, dim).transpose(1, 2), None


AttentionInterface.register(NAME, attend)
