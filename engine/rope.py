"""Rotary frequencies that depend on the length of a text (``longrope``, ``dynamic``): one set a row, for all its life.

transformers chooses the set by the largest position of a pass and keeps it in the module, so rows of a batch, passes
and draft views would disturb each other, and one text's keys would be turned by several sets. Here a row's set follows
from its extent alone (its prompt and the most it may generate) and is fixed when it gets a slot: a row that may cross
the bound is turned by the long set from its first token on.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

# The rows' sets ride on the positions, which every family hands to its rotary module.
CARRIED = "skim_rope_sets"


@dataclass(frozen=True, slots=True)
class RopeRule:
    """How the extent of a text chooses its frequencies: two sets around ``bound``, or one for each length above it."""

    bound: int
    has_two_sets: bool

    def set_of(self, extent: int) -> int:
        """The set of a text of ``extent`` tokens, named by a length for which transformers computes it."""
        if self.has_two_sets:
            return self.bound + (extent > self.bound)
        return max(extent, self.bound)


def rule_of(config: Any) -> RopeRule | None:
    """The rule of a network; None where frequencies do not depend on lengths, as in most."""
    parameters = getattr(config, "rope_parameters", None) or {}
    if "rope_type" not in parameters:  # one dictionary for each type of layer
        nested = [one for one in parameters.values() if isinstance(one, dict)]
        return RopeRule(0, has_two_sets=False) if any(_depends(one.get("rope_type")) for one in nested) else None
    if not _depends(parameters["rope_type"]):
        return None
    if parameters["rope_type"] == "longrope":
        return RopeRule(parameters["original_max_position_embeddings"], has_two_sets=True)
    return RopeRule(config.max_position_embeddings, has_two_sets=False)


def _depends(kind: str | None) -> bool:
    return kind == "longrope" or "dynamic" in (kind or "")


class RowRope(nn.Module):
    """A rotary module that turns each row by its own set; without sets on the positions it is the stock module."""

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.stock = stock
        self._own: Any = _as_new(stock)
        self._turn = inspect.unwrap(type(stock).forward)  # without the update by the pass's largest position
        self.everyones: tuple[int, ...] | None = None  # of rows whose positions carry none
        self._known: dict[tuple[int, str | None], torch.Tensor] = {}

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor, layer_type: str | None = None) -> Any:
        """Cosines and sines [batch, width, dim] of positions [batch, width]."""
        named = {} if layer_type is None else {"layer_type": layer_type}
        sets: tuple[int, ...] | None = getattr(position_ids, CARRIED, self.everyones)
        if sets is None:
            return self.stock(x, position_ids, **named)
        kind = self._own.rope_type if layer_type is None else self._own.rope_type[layer_type]
        if _depends(kind):
            rows = [self._frequencies(one, kind, layer_type, x.device) for one in sets]
            name = "inv_freq" if layer_type is None else f"{layer_type}_inv_freq"
            setattr(self._own, name, torch.stack(rows).unsqueeze(1))  # [batch, 1, dim / 2]
        return self._turn(self._own, x, position_ids, **named)

    def _frequencies(self, one: int, kind: str, layer_type: str | None, device: torch.device) -> torch.Tensor:
        if (one, layer_type) not in self._known:
            make = ROPE_INIT_FUNCTIONS[kind]
            self._known[one, layer_type] = make(self._own.config, device, seq_len=one, layer_type=layer_type)[0]
        return self._known[one, layer_type]


def adopt_rope(network: PreTrainedModel) -> None:
    """Let every rotary module of a network whose frequencies depend on lengths turn rows by their own sets."""
    if rule_of(network.config) is not None:
        for parent, name, rope in _ropes(network):
            if not isinstance(rope, RowRope):
                parent.register_module(name, RowRope(rope))


def turn_all(network: PreTrainedModel, extent: int) -> None:
    """Let passes of one row whose positions carry no set have that of a text of ``extent`` tokens, until told anew."""
    rule = rule_of(network.config)
    if rule is not None:
        adopt_rope(network)
        for _, _, rope in _ropes(network):
            if isinstance(rope, RowRope):
                rope.everyones = (rule.set_of(extent),)


@contextmanager
def fresh_rope(network: PreTrainedModel) -> Iterator[None]:
    """Give the network transformers' own rotary modules for a while, with no memory of earlier lengths."""
    ropes = _ropes(network)
    for parent, name, rope in ropes:
        parent.register_module(name, _as_new(rope.stock if isinstance(rope, RowRope) else rope))
    try:
        yield
    finally:
        for parent, name, rope in ropes:
            parent.register_module(name, rope)


def _ropes(network: PreTrainedModel) -> list[tuple[nn.Module, str, Any]]:
    """(parent, name, module) of the rotary modules."""
    return [
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if not isinstance(parent, RowRope) and (isinstance(child, RowRope) or hasattr(child, "rope_type"))
    ]


def _as_new(stock: Any) -> Any:
    device = next((buffer.device for buffer in stock.buffers()), None)
    return type(stock)(stock.config).to(device)
