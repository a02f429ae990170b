"""Tiny random networks whose tokens depend on their context, and stand-ins for tokenizers. No download."""

from collections.abc import Sequence
from functools import cache

import torch
from transformers import LlamaConfig, LlamaForCausalLM

VOCABULARY = 61
BYTES = 256


@cache
def tiny(
    layers: int = 3,
    *,
    seed: int = 0,
    vocabulary: int = VOCABULARY,
    dtype: torch.dtype = torch.float64,
    spread: float = 0.3,
) -> LlamaForCausalLM:
    """A random Llama, two query heads to a kv head, shared by the tests: whoever changes it copies it first."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=layers,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=512,
                initializer_range=spread,
                tie_word_embeddings=False,
                bos_token_id=None,
                eos_token_id=None,
                pad_token_id=None,
            )
        )
    network.to(dtype)  # type: ignore[arg-type]  # transformers hides torch's own signature
    network.eval()  # type: ignore[no-untyped-call]
    network.requires_grad_(False)
    return network


def letters(tokens: Sequence[int]) -> str:
    """A tokenizer's ``decode`` with one character a token: a to z, then A to Z, then digits."""
    return "".join("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[token] for token in tokens)


def octets(tokens: Sequence[int]) -> str:
    """A byte-level tokenizer's ``decode``: one byte a token, broken characters replaced."""
    return bytes(tokens).decode(errors="replace")


def words(tokens: Sequence[int]) -> str:
    """A ``decode`` as SentencePiece's: a word a token with a space before it, which the first one of a text loses."""
    return "".join(f" {letters([token])}" for token in tokens).removeprefix(" ")
