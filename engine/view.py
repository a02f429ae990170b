"""Draft views: a network without some sub-layers, sharing every parameter with the full one.

A view is a shallow copy of the module tree on the path to the skipped halves. Several views of one network coexist.
"""

import copy
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import PreTrainedModel

from engine.family import Family, family_of
from engine.skipset import SkipSet

Module = TypeVar("Module", bound=nn.Module)


class _NoAttention(nn.Module):
    """Stands for a skipped attention block: adds exactly nothing to the residual stream."""

    def forward(self, hidden_states: torch.Tensor, **_: Any) -> tuple[torch.Tensor, None]:
        return torch.zeros_like(hidden_states), None


class _NoMlp(nn.Module):
    """Stands for a skipped MLP: adds exactly nothing to the residual stream."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(hidden_states)


class _PassThrough(nn.Module):
    """Stands for a layer of which both halves are skipped, at the same index."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        for name in ("attention_type", "layer_type"):  # read by the model's loop in some families
            if hasattr(layer, name):
                setattr(self, name, getattr(layer, name))

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden_states


def draft_view(network: PreTrainedModel, skip_set: SkipSet) -> PreTrainedModel:
    """The network without the sub-layers of ``skip_set``; parameters are shared, the network is unchanged.

    Raises: Unsupported for a family that cannot skip; BadRequest for a set that names layers it lacks.
    """
    family = family_of(network)
    skip_set.check(network.config.num_hidden_layers)
    view = _shallow(network)
    name = view.base_model_prefix
    body = _replace(view, name, _shallow(getattr(view, name)))
    layers = list(getattr(body, family.layers))
    for index, layer in enumerate(layers):
        layers[index] = _without(layer, family, index in skip_set.attention, index in skip_set.mlp)
    _replace(body, family.layers, nn.ModuleList(layers))
    return view


def _without(layer: nn.Module, family: Family, no_attention: bool, no_mlp: bool) -> nn.Module:
    if no_attention and no_mlp:
        return _PassThrough(layer)
    if not (no_attention or no_mlp):
        return layer
    kept = _shallow(layer)
    norm, block = family.attention if no_attention else family.mlp
    _replace(kept, norm, nn.Identity())  # its output would be thrown away
    _replace(kept, block, _NoAttention() if no_attention else _NoMlp())
    return kept


def _shallow(module: Module) -> Module:
    """A module of its own with the same children, parameters and buffers."""
    twin = copy.copy(module)
    for registry in ("_modules", "_parameters", "_buffers"):
        twin.__dict__[registry] = dict(module.__dict__[registry])
    return twin


def _replace(parent: nn.Module, name: str, child: Module) -> Module:
    parent._modules[name] = child
    return child
