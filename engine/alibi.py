"""Two families whose positions are biases on the attention scores (ALiBi, Press et al., arXiv 2108.12409).

Both build the biases from a mask of [batch, span], where a pass of ragged rows has one of [batch, 1, width, span]. A
bias grows with the key's column and a softmax takes no notice of what all keys share, so one table serves all rows.
(The third such family, MPT, cuts its own to the span.)
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.models.falcon import modeling_falcon as falcon


def adopt_biases(network: PreTrainedModel) -> None:
    """Prepare Bloom and Falcon for passes of ragged rows; other networks are left as they are."""
    body: Any = network.base_model
    if network.config.model_type == "bloom" and not isinstance(body.build_alibi_tensor, _SpanBiases):
        body.build_alibi_tensor = _SpanBiases(body.build_alibi_tensor)
    elif has_falcon_biases(network):
        body.use_alibi = False  # they come with the mask
        body.rotary_emb = _Still()  # which Falcon uses where it builds no biases


def has_falcon_biases(network: PreTrainedModel) -> bool:
    return network.config.model_type == "falcon" and bool(network.config.alibi)


def biased(network: PreTrainedModel, mask: torch.Tensor) -> torch.Tensor:
    """An additive mask [batch, 1, width, span] with Falcon's biases in it: [batch, heads, width, span].

    Falcon scales them as it scales the scores, and makes them in 16 bit whatever its weights are.
    """
    if not has_falcon_biases(network):
        return mask
    config = network.config
    everything = mask.new_ones((1, mask.shape[-1]), dtype=torch.long)
    biases = falcon.build_alibi_tensor(everything, config.num_attention_heads, mask.dtype)  # [heads, 1, span]
    return mask + biases / math.sqrt(config.hidden_size // config.num_attention_heads)


@contextmanager
def stock_biases(network: PreTrainedModel) -> Iterator[None]:
    """Let Falcon build its biases itself for a while."""
    body: Any = network.base_model
    if not has_falcon_biases(network):
        yield
        return
    before = body.use_alibi
    body.use_alibi = True
    try:
        yield
    finally:
        body.use_alibi = before


class _SpanBiases:
    """Bloom's own builder, which is given a mask of [batch, span] whatever comes in."""

    def __init__(self, build: Any) -> None:
        self._build = build

    def __call__(self, mask: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        flat = mask.new_ones((mask.shape[0], mask.shape[-1])) if mask.dim() == 4 else mask
        biases: torch.Tensor = self._build(flat, *rest, **named)
        return biases


class _Still(nn.Module):
    """A rotary module that turns nothing: cosines of 1 and sines of 0."""

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        one = x.new_ones(1)
        return one, torch.zeros_like(one)
