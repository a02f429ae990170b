"""A tiny random network of every family, in float64, in the variants that change what a layer does.

Windows are shorter than the prompts of the tests, and where a family can have both kinds of layer it has both.
"""

from functools import cache
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from engine.family import FAMILIES, FULL, SLIDING
from tests.tools.networks import VOCABULARY

LAYERS = 4
WINDOW = 9
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "head_dim": 8,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
_EXPERTS = {
    "num_experts": 4,
    "num_local_experts": 4,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 24,
    "num_experts_per_tok": 2,
}
_SLIDING = {"sliding_window": WINDOW}
_BOTH = {**_SLIDING, "layer_types": [SLIDING, FULL] * (LAYERS // 2)}
_UPPER = {**_SLIDING, "use_sliding_window": True, "max_window_layers": 2}
_OWN: dict[str, dict[str, Any]] = {
    "mistral": _SLIDING,
    "ministral": _BOTH,
    "mixtral": {**_SLIDING, **_EXPERTS},
    "qwen2": _UPPER,
    "qwen2_moe": {**_UPPER, **_EXPERTS},
    "qwen3": _UPPER,
    "qwen3_moe": {**_SLIDING, "use_sliding_window": True, **_EXPERTS},
    "granitemoe": _EXPERTS,
    "olmoe": _EXPERTS,
    "smollm3": {**_BOTH, "use_sliding_window": True, "no_rope_layers": [1, 0, 0, 1]},
    "starcoder2": _SLIDING,
    "phi3": _SLIDING,
    "gemma2": _BOTH,
    "gemma3_text": _BOTH,
    "cohere2": _BOTH,
    "olmo3": _BOTH,
    "exaone4": _BOTH,
    "gptj": {"rotary_dim": 4},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": LAYERS, "expansion_ratio": 2, "max_seq_len": 128},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
}
_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "mistral without window": ("mistral", {"sliding_window": None}),
    "qwen2 without windows": ("qwen2", {}),
    "gpt_neox in sequence": ("gpt_neox", {"use_parallel_residual": False}),
    "stablelm in parallel": ("stablelm", {"use_parallel_residual": True, "qk_layernorm": True}),
    "opt with norms behind": ("opt", {**_OWN["opt"], "do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    "bloom with normed residuals": ("bloom", {"apply_residual_connection_post_layernorm": True}),
    "falcon in sequence": ("falcon", {"parallel_attn": False, "multi_query": False, "bias": True}),
    "falcon new": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon new with one norm": (
        "falcon",
        {"new_decoder_architecture": True, "num_kv_heads": 2, "num_ln_in_parallel_attn": 1},
    ),
    "falcon with biases": ("falcon", {"alibi": True, "parallel_attn": False, "multi_query": False, "bias": True}),
    "falcon with biases and one kv head": ("falcon", {"alibi": True}),
    "falcon with biases for five heads": ("falcon", {"alibi": True, "hidden_size": 40, "num_attention_heads": 5}),
    "bloom with five heads": ("bloom", {"hidden_size": 40, "num_attention_heads": 5}),
}
NETWORKS = (*FAMILIES, *_VARIANTS)


@cache
def network_of(name: str) -> PreTrainedModel:
    """The shared network of that family or variant; whoever changes it copies it first."""
    kind, own = _VARIANTS.get(name, (name, _OWN.get(name, {})))
    return build(kind, **own)


def build(kind: str, **own: Any) -> PreTrainedModel:
    """A network of a family with other settings than the usual tiny ones."""
    sizes = {key: value for key, value in _SIZES.items() if (kind, key) != ("falcon", "head_dim")}  # derived there
    config = CONFIG_MAPPING[kind](**{**sizes, **own})
    config._experts_implementation = "eager"  # the other one has no float64
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    network.to(torch.float64)  # type: ignore[arg-type]  # transformers hides torch's own signature
    network.eval()  # type: ignore[no-untyped-call]
    return network.requires_grad_(False)
