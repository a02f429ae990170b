"""A Llama written by hand in numpy, float64, straight from the papers: the yardstick of the oracle.

RMSNorm (arXiv 1910.07467), rotary positions (arXiv 2104.09864), grouped queries (arXiv 2305.13245), SwiGLU
(arXiv 2002.05202). Knows torch only to read the weights.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import LlamaForCausalLM

Array = NDArray[np.float64]


class NumpyLlama:
    """Computes logits of a whole sequence, position by position and head by head."""

    def __init__(self, network: LlamaForCausalLM) -> None:
        config: Any = network.config  # its fields are optional to the type checker
        self._weights: dict[str, Array] = {
            name: parameter.detach().double().numpy() for name, parameter in network.named_parameters()
        }
        self._layers: int = config.num_hidden_layers
        self._heads: int = config.num_attention_heads
        self._groups: int = config.num_attention_heads // config.num_key_value_heads
        self._dim: int = config.head_dim
        self._eps: float = config.rms_norm_eps
        self._theta: float = config.rope_parameters["rope_theta"]

    def logits(self, tokens: list[int]) -> Array:
        """[tokens, vocabulary]"""
        hidden = self._weights["model.embed_tokens.weight"][tokens]
        for layer in range(self._layers):
            name = f"model.layers.{layer}"
            hidden = hidden + self._attention(name, self._norm(f"{name}.input_layernorm", hidden))
            hidden = hidden + self._mlp(name, self._norm(f"{name}.post_attention_layernorm", hidden))
        return self._norm("model.norm", hidden) @ self._weights["lm_head.weight"].T

    def _linear(self, name: str, inputs: Array) -> Array:
        return np.asarray(inputs @ self._weights[f"{name}.weight"].T)

    def _norm(self, name: str, inputs: Array) -> Array:
        mean_square = (inputs**2).mean(axis=-1, keepdims=True)
        return np.asarray(inputs / np.sqrt(mean_square + self._eps) * self._weights[f"{name}.weight"])

    def _mlp(self, name: str, inputs: Array) -> Array:
        gate = self._linear(f"{name}.mlp.gate_proj", inputs)
        swish = gate / (1 + np.exp(-gate))
        return self._linear(f"{name}.mlp.down_proj", swish * self._linear(f"{name}.mlp.up_proj", inputs))

    def _attention(self, name: str, inputs: Array) -> Array:
        query, key, value = (self._linear(f"{name}.self_attn.{kind}_proj", inputs) for kind in "qkv")
        out = np.empty_like(query)
        for head in range(self._heads):
            here = slice(head * self._dim, (head + 1) * self._dim)
            shared = slice(head // self._groups * self._dim, (head // self._groups + 1) * self._dim)
            out[:, here] = self._attend(self._rotated(query[:, here]), self._rotated(key[:, shared]), value[:, shared])
        return self._linear(f"{name}.self_attn.o_proj", out)

    def _attend(self, query: Array, key: Array, value: Array) -> Array:
        out = np.empty_like(query)
        for position in range(len(query)):
            scores = key[: position + 1] @ query[position] / np.sqrt(self._dim)
            weights = np.exp(scores - scores.max())
            out[position] = weights / weights.sum() @ value[: position + 1]
        return out

    def _rotated(self, vectors: Array) -> Array:
        """Turn the plane of dimensions (i, i + dim/2) by position * theta^(-2i/dim)."""
        half = self._dim // 2
        speeds = self._theta ** (-2.0 * np.arange(half) / self._dim)
        angles = np.arange(len(vectors))[:, None] * speeds
        first, second = vectors[:, :half], vectors[:, half:]
        turned = first * np.cos(angles) - second * np.sin(angles), second * np.cos(angles) + first * np.sin(angles)
        return np.concatenate(turned, axis=1)
