"""What Skim knows of each network family: where its layers are and which modules make up a sub-layer.

One declarative table. A family that is absent is served without layer skipping, and says so.
"""

from dataclasses import dataclass

from transformers import PreTrainedModel

from engine.errors import Unsupported


@dataclass(frozen=True, slots=True)
class Family:
    """Names of the modules of a decoder layer, as attributes of the layer; ``layers`` is a path from the base model.

    Each half is (norm before it, the block itself); the layer adds the block's output to its input.
    """

    layers: str
    attention: tuple[str, str]
    mlp: tuple[str, str]


_LLAMA = Family("layers", ("input_layernorm", "self_attn"), ("post_attention_layernorm", "mlp"))

FAMILIES = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "granite": _LLAMA,
    "smollm3": _LLAMA,
}


def family_of(network: PreTrainedModel) -> Family:
    """The family of a network.

    Raises: Unsupported when layer skipping is not known to be exact for it.
    """
    kind: str = network.config.model_type
    if kind not in FAMILIES:
        raise Unsupported(f"networks of type {kind!r} cannot draft by skipping layers; they are served without it")
    return FAMILIES[kind]
