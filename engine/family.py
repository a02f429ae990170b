"""What Skim knows of each network family: where its layers are, which modules make up a sub-layer, what its mask is.

One declarative table, and only facts: adapters live with what they adapt (`alibi`, `rope`). A family that is absent is
not decoded over the slot cache at all, because nobody has checked that its attention has nothing else in it (sinks,
chunks); `stock` serves it plain.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from engine.errors import Unsupported


class Mask(StrEnum):
    """How a layer learns what it may see. All but the last call our attention, which asks the pass."""

    CAUSAL = "causal"  # everything before it
    SLIDING = "sliding"  # `config.sliding_window` in every layer, where it is set
    BY_TYPE = "by type"  # the model hands out a dictionary by `config.layer_types`: full or sliding, layer by layer
    ADDITIVE = "additive"  # its own eager attention adds a 4-D mask to the scores


_POSITIONS = "max_position_embeddings"
FULL, SLIDING = "full_attention", "sliding_attention"  # the values of `config.layer_types` that are known here


@dataclass(frozen=True, slots=True)
class Family:
    """Where a decoder layer keeps its halves, by attribute names of the layer.

    ``layers`` is a path from the base model. ``attention`` and ``mlp`` are the modules whose zero output makes the half
    vanish. ``before_attention`` and ``before_mlp`` feed nothing else, so they need not run when their half is skipped.
    ``adds_residual``: the halves take the residual as second argument and return the sum. ``in_tuple``: a layer returns
    its hidden states in a tuple. ``table``: the setting that says how many positions there are, where they are
    looked up and end.
    """

    layers: str = "layers"
    attention: str = "self_attn"
    mlp: str = "mlp"
    before_attention: tuple[str, ...] = ()
    before_mlp: tuple[str, ...] = ()
    mask: Mask = Mask.CAUSAL
    adds_residual: bool = False
    in_tuple: bool = False
    table: str | None = None


def _sequential(mask: Mask = Mask.CAUSAL, mlp: str = "mlp", norms: str = "input post_attention") -> Family:
    first, second = (f"{name}_layernorm" for name in norms.split())
    return Family(mlp=mlp, before_attention=(first,), before_mlp=(second,), mask=mask)


_SANDWICH = _sequential(Mask.BY_TYPE, norms="input pre_feedforward")  # norms before and behind each half
_SHARED_NORM = Family()  # one norm feeds both halves, or norms stand behind them only
_SHARED_NORM_BY_TYPE = Family(mask=Mask.BY_TYPE)

FAMILIES = {
    "llama": _sequential(),
    "mistral": _sequential(Mask.SLIDING),
    "ministral": _sequential(Mask.BY_TYPE),
    "mixtral": _sequential(Mask.SLIDING),
    "qwen2": _sequential(Mask.BY_TYPE),
    "qwen2_moe": _sequential(Mask.BY_TYPE),
    "qwen3": _sequential(Mask.BY_TYPE),
    "qwen3_moe": _sequential(Mask.SLIDING),
    "granite": _sequential(),
    "granitemoe": _sequential(mlp="block_sparse_moe"),
    "smollm3": _sequential(Mask.BY_TYPE),
    "starcoder2": _sequential(Mask.SLIDING),
    "phi3": _sequential(Mask.SLIDING),
    "gemma": _sequential(),
    "gemma2": _SANDWICH,
    "gemma3_text": _SANDWICH,
    "glm": _sequential(),
    "glm4": _sequential(),
    "olmo": _sequential(),
    "olmo2": _SHARED_NORM,
    "olmo3": _SHARED_NORM_BY_TYPE,
    "olmoe": _sequential(),
    "exaone4": _SHARED_NORM_BY_TYPE,
    "cohere": _SHARED_NORM,
    "cohere2": _SHARED_NORM_BY_TYPE,
    "phi": _SHARED_NORM,
    "stablelm": _SHARED_NORM,
    "nemotron": _sequential(),
    "helium": _sequential(),
    "arcee": _sequential(),
    "seed_oss": _sequential(),
    "ernie4_5": _sequential(),
    "apertus": _sequential(norms="attention feedforward"),
    "gpt_neox": Family(
        attention="attention", before_attention=("input_layernorm",), before_mlp=("post_attention_layernorm",)
    ),
    "gpt2": Family("h", "attn", before_attention=("ln_1",), before_mlp=("ln_2",), table=_POSITIONS),
    "gptj": Family("h", "attn", mask=Mask.ADDITIVE, in_tuple=True, table=_POSITIONS),
    "falcon": Family("h", "self_attention", mask=Mask.ADDITIVE, in_tuple=True),
    "bloom": Family("h", "self_attention", mask=Mask.ADDITIVE, adds_residual=True, in_tuple=True),
    # Its attention adds no residual, and is not given one either.
    "mpt": Family("blocks", "attn", "ffn", mask=Mask.ADDITIVE, adds_residual=True, in_tuple=True, table="max_seq_len"),
    # Its MLP stands in the layer itself: without fc1 and with a zero fc2 nothing is left of it.
    "opt": Family("decoder.layers", mlp="fc2", before_mlp=("fc1",), table=_POSITIONS),
}


def family_of(network: PreTrainedModel) -> Family:
    """The family of a network.

    Raises: Unsupported when drafting over the slot cache is not known to be exact for it.
    """
    config: Any = network.config
    kind: str = config.model_type
    if getattr(network, "_is_stateful", False):  # transformers' own word for it
        raise Unsupported(
            f"{kind} keeps a state of all it has read, from which no draft can be taken back: served plain"
        )
    if kind not in FAMILIES:
        raise Unsupported(f"networks of type {kind!r} are not known to draft exactly; they are served plain")
    strange = sorted(set(getattr(config, "layer_types", None) or ()) - {FULL, SLIDING})
    if strange or getattr(config, "use_bidirectional_attention", False):
        about = ", ".join(strange) or "bidirectional attention"
        raise Unsupported(f"this {kind} has layers that are not known to draft exactly ({about}); it is served plain")
    return FAMILIES[kind]


def layers_of(network: PreTrainedModel) -> list[nn.Module]:
    """The decoder layers of a network, in order."""
    layers: Any = network.base_model.get_submodule(family_of(network).layers)
    return list(layers)


def windows(network: PreTrainedModel) -> list[int | None]:
    """How many positions each layer sees, itself included; None for all."""
    config: Any = network.config
    kinds = {Mask.SLIDING: [SLIDING] * config.num_hidden_layers, Mask.BY_TYPE: getattr(config, "layer_types", None)}
    types = kinds.get(family_of(network).mask) or [FULL] * config.num_hidden_layers
    return [config.sliding_window if one == SLIDING else None for one in types]


def longest(network: PreTrainedModel, length: int) -> int:
    """The tokens a row may have: ``length``, or as many as the network has positions for."""
    config: Any = network.config
    table = family_of(network).table
    return length if table is None else min(length, getattr(config, table))
