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


class _Nothing(nn.Module):
    """Stands for a skipped half: adds exactly nothing to the residual stream.

    ``is_attention``: the layer expects (output, weights). ``adds_residual``: the half is given the residual as second
    argument and returns the sum, which is then the residual itself.
    """

    def __init__(self, is_attention: bool, adds_residual: bool) -> None:
        super().__init__()
        self._is_attention = is_attention
        self._adds_residual = adds_residual

    def forward(
        self, hidden_states: torch.Tensor, residual: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor | tuple[torch.Tensor, None]:
        out = residual if self._adds_residual and residual is not None else torch.zeros_like(hidden_states)
        return (out, None) if self._is_attention else out


class _PassThrough(nn.Module):
    """Stands for a layer of which both halves are skipped, at the same index."""

    def __init__(self, layer: nn.Module, in_tuple: bool) -> None:
        super().__init__()
        self._in_tuple = in_tuple
        for name in ("attention_type", "layer_type"):  # read by the model's loop in some families
            if hasattr(layer, name):
                setattr(self, name, getattr(layer, name))

    def forward(self, hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor | tuple[torch.Tensor, None]:
        return (hidden_states, None) if self._in_tuple else hidden_states


def draft_view(network: PreTrainedModel, skip_set: SkipSet) -> PreTrainedModel:
    """The network without the sub-layers of ``skip_set``; parameters are shared, the network is unchanged.

    Raises: Unsupported for a family that cannot skip; BadRequest for a set that names layers it lacks.
    """
    family = family_of(network)
    skip_set.check(network.config.num_hidden_layers)
    view = _shallow(network)
    path = [network.base_model_prefix, *family.layers.split(".")]
    parent: nn.Module = view
    for name in path[:-1]:
        parent = _replace(parent, name, _shallow(getattr(parent, name)))
    layers = [
        _without(layer, family, index in skip_set.attention, index in skip_set.mlp)
        for index, layer in enumerate(getattr(parent, path[-1]))
    ]
    _replace(parent, path[-1], nn.ModuleList(layers))
    return view


def _without(layer: nn.Module, family: Family, no_attention: bool, no_mlp: bool) -> nn.Module:
    if no_attention and no_mlp:
        return _PassThrough(layer, family.in_tuple)
    if not (no_attention or no_mlp):
        return layer
    kept = _shallow(layer)
    _replace(kept, family.attention if no_attention else family.mlp, _Nothing(no_attention, family.adds_residual))
    for idle in family.before_attention if no_attention else family.before_mlp:
        _replace(kept, idle, nn.Identity())  # its output would be thrown away
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
