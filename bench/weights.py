"""Random weights of any Llama shape whose greedy text neither loops nor ignores its context.

A token's embedding points at the head's rows of a few successors; the sub-layers, all of about the same weight, decide
among these by the context. Knows nothing of what is planted but which sub-layers not to count.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import log, sqrt

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from bench.decoys import Decoys, add_decoys
from engine.attention import adopt
from engine.skipset import SkipSet

CHOICES = 4  # plausible successors of a token
_CLEARANCE = 3.0  # standard deviations by which these stand above the likeliest of all other tokens
_FOCUS = 2.0  # standard deviation of attention scores: a handful of positions get most of the weight
_SHARPNESS = 3.0  # of the distribution at temperature 1; greedy text does not depend on it
_MLP_GAIN = 2.5  # brings its output to about unit variance


def shape(layers: int, hidden: int, intermediate: int, heads: int, kv_heads: int, vocabulary: int) -> LlamaConfig:
    """A Llama of this shape with an untied head and no special tokens."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )


def blank(config: LlamaConfig, dtype: torch.dtype, device: str) -> LlamaForCausalLM:
    """The network with its memory allocated on the device and nothing in it."""
    with torch.device("meta"):
        network = LlamaForCausalLM(config)
    network.to(dtype)  # type: ignore[arg-type]  # transformers hides torch's own signature
    network.to_empty(device=device)
    with torch.device(device):
        network.model.rotary_emb = LlamaRotaryEmbedding(config)  # the one module that computes what it holds
    network.eval()  # type: ignore[no-untyped-call]
    network.requires_grad_(False)
    adopt(network)
    return network


def fill(network: LlamaForCausalLM, skip_set: SkipSet, decoys: Decoys, mixing: float, seed: int) -> None:
    """Draw all weights, in place and on the device, as if nothing were planted yet."""
    config = network.config
    hidden, inner = int(config.hidden_size), int(config.intermediate_size)
    dice = torch.Generator(network.device).manual_seed(seed)
    deviations = {
        "q_proj": sqrt(_FOCUS / hidden),
        "k_proj": sqrt(_FOCUS / hidden),
        "v_proj": 1 / sqrt(hidden),
        "o_proj": mixing / sqrt(hidden),
        "gate_proj": 1 / sqrt(hidden),
        "up_proj": 1 / sqrt(hidden),
        "down_proj": _MLP_GAIN / sqrt(inner),
        "lm_head": 1 / sqrt(hidden),
    }
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0, deviations[name.rpartition(".")[2]], generator=dice)
        elif hasattr(module, "weight"):
            module.weight.fill_(1.0)
    mattering = 2 * int(config.num_hidden_layers) - len(skip_set) - len(decoys)
    _embed(network, mattering, 2 if decoys.redundant else 1, dice)
    add_decoys(network, decoys, dice)
    network.lm_head.weight.mul_(_SHARPNESS)


def _embed(network: LlamaForCausalLM, mattering: int, parts: int, dice: torch.Generator) -> None:
    """A token's embedding is the sum of its successors' rows of the head, so that these stand out; the sub-layers,
    about unit variance each, decide among them. Each of ``parts`` of the vocabulary has successors of its own.
    """
    head = network.lm_head.weight  # rows of unit length
    vocabulary = head.shape[0]
    embedding = network.model.embed_tokens.weight.zero_()
    for _ in range(CHOICES):
        successors = torch.randint(vocabulary // parts, (vocabulary,), generator=dice, device=head.device)
        for part in range(parts):
            embedding += head[successors + part * (vocabulary // parts)]
    clearance = sqrt(2 * log(vocabulary)) + _CLEARANCE  # the largest of V normal deviates stands near sqrt(2 log V)
    embedding.mul_(clearance * sqrt(max(mattering, 1)))


def outputs_of(network: LlamaForCausalLM, skip_set: SkipSet) -> list[nn.Linear]:
    """The output projections of the skipped sub-layers."""
    layers = network.model.layers
    attention = [layers[index].self_attn.o_proj for index in sorted(skip_set.attention)]
    return attention + [layers[index].mlp.down_proj for index in sorted(skip_set.mlp)]


@contextmanager
def scaled(network: LlamaForCausalLM, skip_set: SkipSet, scale: float) -> Iterator[None]:
    """Multiply the outputs of the planted sub-layers for a while, leaving their weights alone."""
    hooks = [
        projection.register_forward_hook(lambda _module, _inputs, output: output * scale)
        for projection in outputs_of(network, skip_set)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
