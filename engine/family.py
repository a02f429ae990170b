"""What Skim knows of each network family: where its layers are and which modules make up a sub-layer.

One declarative table. A family that is absent is served without layer skipping, and says so.
"""

from dataclasses import dataclass

from transformers import PreTrainedModel

from engine.errors import Unsupported


@dataclass(frozen=True, slots=True)
class Family:
    """Where a decoder layer keeps its halves, by attribute names of the layer.

    ``layers`` is a path from the base model. ``attention`` and ``mlp`` are the modules whose zero output makes the half
    vanish. ``before_attention`` and ``before_mlp`` feed nothing else, so they need not run when their half is skipped.
    ``adds_residual``: the halves take the residual as second argument and return the sum. ``in_tuple``: a layer returns
    its hidden states in a tuple.
    """

    layers: str = "layers"
    attention: str = "self_attn"
    mlp: str = "mlp"
    before_attention: tuple[str, ...] = ()
    before_mlp: tuple[str, ...] = ()
    adds_residual: bool = False
    in_tuple: bool = False


_SEQUENTIAL = Family(before_attention=("input_layernorm",), before_mlp=("post_attention_layernorm",))
_SANDWICH = Family(before_attention=("input_layernorm",), before_mlp=("pre_feedforward_layernorm",))
_SHARED_NORM = Family()  # one norm feeds both halves, or norms stand behind them

FAMILIES = {
    "llama": _SEQUENTIAL,
    "mistral": _SEQUENTIAL,
    "mixtral": _SEQUENTIAL,
    "qwen2": _SEQUENTIAL,
    "qwen3": _SEQUENTIAL,
    "qwen3_moe": _SEQUENTIAL,
    "granite": _SEQUENTIAL,
    "smollm3": _SEQUENTIAL,
    "starcoder2": _SEQUENTIAL,
    "phi3": _SEQUENTIAL,
    "gemma": _SEQUENTIAL,
    "gemma2": _SANDWICH,
    "gemma3_text": _SANDWICH,
    "olmo2": _SHARED_NORM,
    "cohere": _SHARED_NORM,
    "phi": _SHARED_NORM,
    "stablelm": _SHARED_NORM,
    "gpt_neox": Family(
        attention="attention", before_attention=("input_layernorm",), before_mlp=("post_attention_layernorm",)
    ),
    "gpt2": Family("h", "attn", "mlp", before_attention=("ln_1",), before_mlp=("ln_2",)),
    "gptj": Family("h", "attn", "mlp", in_tuple=True),
    "falcon": Family("h", "self_attention", "mlp", in_tuple=True),
    "bloom": Family("h", "self_attention", "mlp", ("input_layernorm",), (), adds_residual=True, in_tuple=True),
    # Its MLP stands in the layer itself: without fc1 and with a zero fc2 nothing is left of it.
    "opt": Family("decoder.layers", "self_attn", "fc2", before_mlp=("fc1",)),
}


def family_of(network: PreTrainedModel) -> Family:
    """The family of a network.

    Raises: Unsupported when layer skipping is not known to be exact for it.
    """
    kind: str = network.config.model_type
    if kind not in FAMILIES:
        raise Unsupported(f"networks of type {kind!r} cannot draft by skipping layers; they are served without it")
    return FAMILIES[kind]
