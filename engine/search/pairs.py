"""Pairs of sub-layers that cancel each other.

Sub-layers add to the residual stream, so a pair whose outputs nearly cancel may be harmless to skip together though
neither is alone. One pass of the full network shows all of their outputs.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from engine.cache import SlotCache
from engine.family import family_of
from engine.passes import logits_of
from engine.search.reference import Reference
from engine.search.scoring import ScoringPass
from engine.search.units import singles, union
from engine.skipset import SkipSet

_LEFT = 0.5  # of the larger output, left when both are skipped: above it a pair is no candidate
_STRIDE = 4  # every so many positions are looked at


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sub-layers, and the share of the larger output that is left when both are skipped."""

    skip_set: SkipSet
    left: float


@torch.inference_mode()
def cancelling(network: PreTrainedModel, cache: SlotCache, slot: int, reference: Reference) -> list[Pair]:
    """Pairs of sub-layers whose outputs nearly cancel, the best first, from one pass over a held reference."""
    outputs = _outputs(network, ScoringPass(cache, slot, reference, reference.width, 0, 0, reference.width))
    gram = torch.einsum("aph,bph->ab", outputs, outputs)
    norms = gram.diagonal()
    left = (norms + norms.unsqueeze(-1) + 2 * gram).clamp(min=0) / torch.maximum(norms, norms.unsqueeze(-1))
    every = singles(network.config.num_hidden_layers)
    first, second = torch.triu_indices(len(every), len(every), offset=1).tolist()
    pairs = [Pair(union([every[i], every[j]]), float(left[i, j])) for i, j in zip(first, second, strict=True)]
    return sorted((pair for pair in pairs if pair.left < _LEFT), key=lambda pair: pair.left)


def _outputs(network: PreTrainedModel, run: ScoringPass) -> torch.Tensor:
    """What each sub-layer adds, attentions then MLPs: [2 * layers, positions, hidden]."""
    family, kept = family_of(network), {}
    layers: Any = network.base_model.get_submodule(family.layers)
    halves = [(kind, index) for kind in (family.attention, family.mlp) for index in range(len(layers))]

    def keep(key: tuple[str, int], output: Any) -> None:
        added = output[0] if isinstance(output, tuple) else output
        kept[key] = added.reshape(run.width, -1)[::_STRIDE].float()

    hooks = [
        getattr(layers[index], kind).register_forward_hook(lambda _m, _i, output, key=(kind, index): keep(key, output))
        for kind, index in halves
    ]
    try:
        logits_of(network, run)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack([kept[half] for half in halves])
