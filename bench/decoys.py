"""Decoys in planted networks: pairs of MLPs that mislead a search which judges sub-layers one at a time.

A decoy MLP adds a constant to one coordinate of the residual stream that nothing but the head reads:
- cancelling pair: one adds what the other takes away. Skipping both changes nothing, skipping one shifts the logits;
- redundant pair: either suffices to keep half of the vocabulary, among it half of each token's plausible successors,
  from being picked. Skipping one changes nothing, skipping both lets them in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, sqrt

import torch
from torch import nn
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from engine.attention import stock_attention

_LEVEL = 8.0  # times the size of all the rest: the coordinate that embeddings keep constant for the decoys to read
_SHIFT = 2.0  # standard deviations of a plausible successor's logit by which half a cancelling pair moves it
_BAN = 12.0  # the same for a redundant decoy; more than plausible successors stand above the rest


@dataclass(frozen=True, slots=True)
class Decoys:
    """Pairs of layers whose MLPs are decoys; no layer may be named twice or have its MLP planted."""

    cancelling: tuple[tuple[int, int], ...] = ()
    redundant: tuple[tuple[int, int], ...] = ()

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        return self.cancelling + self.redundant

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(layer for pair in self.pairs for layer in pair)

    def __len__(self) -> int:
        return len(self.layers)


NO_DECOYS = Decoys()


def add_decoys(network: LlamaForCausalLM, decoys: Decoys, dice: torch.Generator) -> None:
    """Clear the coordinates that decoys need (the first ones) and write their weights; ``level`` has to follow."""
    if not decoys.pairs:
        return
    hidden = network.config.hidden_size
    used = slice(0, 1 + len(decoys.pairs))  # one constant, one for each pair
    for layer in network.model.layers:
        for reader in (*_inputs(layer.self_attn, "qkv"), layer.mlp.gate_proj, layer.mlp.up_proj):
            reader.weight[:, used] = 0
        for writer in (layer.self_attn.o_proj, layer.mlp.down_proj):
            writer.weight[used] = 0
    network.model.embed_tokens.weight[:, used] = 0
    embeddings = network.model.embed_tokens.weight
    rest = float(embeddings.float().square().sum(-1).mean()) + 2 * len(network.model.layers) * hidden
    network.model.embed_tokens.weight[:, 0] = _LEVEL * sqrt(rest)
    for coordinate, pair in enumerate(decoys.pairs, start=1):
        _make_constant(network.model.layers[pair[0]].mlp, coordinate, 1.0)
        _make_constant(network.model.layers[pair[1]].mlp, coordinate, -1.0 if pair in decoys.cancelling else 1.0)
    _read(network, decoys, dice)


def _inputs(attention: nn.Module, kinds: str) -> list[nn.Linear]:
    return [getattr(attention, f"{kind}_proj") for kind in kinds]


def _make_constant(mlp: nn.Module, coordinate: int, value: float) -> None:
    """Let an MLP add ``value`` to a coordinate: one inner neuron lives, and it reads only the constant, which is 1."""
    for name in ("gate_proj", "up_proj", "down_proj"):
        projection: nn.Linear = getattr(mlp, name)
        projection.weight.zero_()
        if name != "down_proj":
            projection.weight[0, 0] = 1.0
        else:
            projection.weight[coordinate, 0] = value * (1 + exp(-1))  # silu(1) = 1 / (1 + 1/e)


def _read(network: LlamaForCausalLM, decoys: Decoys, dice: torch.Generator) -> None:
    """Let the head read each pair's coordinate."""
    head = network.lm_head.weight
    head[:, 0] = 0
    mattering = 2 * len(network.model.layers)
    for coordinate, pair in enumerate(decoys.pairs, start=1):
        if pair in decoys.cancelling:
            signs = torch.randint(2, (head.shape[0],), generator=dice, device=head.device) * 2 - 1
            head[:, coordinate] = signs * _SHIFT * sqrt(mattering)
        else:
            head[:, coordinate] = 0
            head[head.shape[0] // 2 :, coordinate] = -_BAN * sqrt(mattering)


@torch.inference_mode()
def level(network: LlamaForCausalLM, prompts: Sequence[Sequence[int]]) -> None:
    """Let every norm give the constant coordinate as 1 and the others with unit variance, as without decoys.

    The constant is most of the residual stream's size, so that what a decoy reads is the same for all tokens and
    layers. Each norm sees what the ones before it were set to, hence one pass sets them all.
    """
    norms = [module for module in network.modules() if isinstance(module, LlamaRMSNorm)]
    hooks = [norm.register_forward_pre_hook(_level) for norm in norms]
    try:
        with stock_attention(network):
            network.base_model(torch.tensor(prompts, device=network.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()


def _level(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    squares = inputs[0].float().square()
    size = squares.mean().sqrt()
    weight: torch.Tensor = norm.get_parameter("weight")
    weight.fill_(size / squares[..., 1:].mean().sqrt())
    weight[0] = size / squares[..., 0].mean().sqrt()
