"""The attention function every served network runs: grouped queries over a view of the slot cache.

It knows a pass only as "a mask per window"; scaling, window and softcap are the layer's own arguments. Registered with
transformers under ``NAME``, so stock modules call it and no module is copied. Families that do not use the interface
keep their eager attention and take the mask as an argument.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows it by
from transformers import AttentionInterface, PreTrainedModel

from engine.errors import Unsupported

NAME = "skim"
# The pass rides on the key view that the cache hands out: every family gives that very tensor to its attention, while
# not every family passes keyword arguments down.
CARRIED = "skim_pass"


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


def adopt(network: PreTrainedModel) -> bool:
    """Make a network call ``attend``; False for a family whose attention is not exchangeable, which then runs eager.

    Raises: Unsupported for a network whose positions cannot be told apart from its masks.
    """
    if network._can_set_attn_implementation():
        network.set_attn_implementation(NAME)
        return True
    if getattr(network.config, "alibi", False):
        raise Unsupported(f"{network.config.model_type} with alibi positions cannot be served")
    network.config._attn_implementation = "eager"
    if network.config.model_type == "bloom":
        _read_span(network.base_model)
    return False


def _read_span(body: Any) -> None:
    """Let Bloom build its position biases for the span of a 4-D mask; it knows only masks of [batch, span]."""
    build = body.build_alibi_tensor

    def build_for(mask: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        flat = mask.new_ones((mask.shape[0], mask.shape[-1])) if mask.dim() == 4 else mask
        biases: torch.Tensor = build(flat, *rest, **named)
        return biases

    body.build_alibi_tensor = build_for


@contextmanager
def stock_attention(network: PreTrainedModel) -> Iterator[None]:
    """Let the network run transformers' eager attention for a while."""
    config = network.config
    before = config._attn_implementation
    config._attn_implementation = "eager"
    try:
        yield
    finally:
        config._attn_implementation = before


AttentionInterface.register(NAME, attend)
