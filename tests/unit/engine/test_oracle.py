"""The oracle against a Llama written by hand in numpy."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM
from transformers.models.llama import modeling_llama

from bench.warping import kept
from engine.attention import stock_attention
from engine.noise import gumbel
from engine.oracle import decode
from engine.request import Request, Sampling
from tests.tools.llama import NumpyLlama
from tests.tools.networks import VOCABULARY, tiny

PROMPT = [7, 60, 7, 0, 33, 21]
TOKENS = 24


class _Wide:
    """torch, in which single precision is double: the stock modules norm and take softmax in float32 otherwise."""

    def __getattr__(self, name: str) -> Any:
        return torch.float64 if name in ("float", "float32") else getattr(torch, name)


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> LlamaForCausalLM:
    """The two-layer network with all its arithmetic in float64."""
    monkeypatch.setattr(modeling_llama, "torch", _Wide())
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    network = copy.deepcopy(tiny(2))
    rotary = network.model.rotary_emb
    config: Any = network.config
    theta, dim = config.rope_parameters["rope_theta"], config.head_dim
    rotary.inv_freq = theta ** -(torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    return network


def logits_of(network: LlamaForCausalLM, tokens: list[int]) -> torch.Tensor:
    with torch.inference_mode(), stock_attention(network):
        logits: torch.Tensor = network(torch.tensor([tokens]), use_cache=False).logits[0]
    return logits


def text_by_hand(network: LlamaForCausalLM, sampling: Sampling) -> list[int]:
    llama, tokens = NumpyLlama(network), list(PROMPT)
    for _ in range(TOKENS):
        logits = llama.logits(tokens)[-1]
        if not sampling.is_greedy:
            order = kept(logits, sampling)
            noise = gumbel(torch.tensor([sampling.seed]), torch.tensor([len(tokens)]), torch.arange(VOCABULARY))
            scores = np.full(VOCABULARY, -np.inf)
            scores[order] = (logits / sampling.temperature + noise[0].numpy())[order]
            logits = scores
        tokens.append(int(logits.argmax()))
    return tokens[len(PROMPT) :]


def test_logits(wide: LlamaForCausalLM) -> None:
    tokens = [*PROMPT, *range(40)]

    np.testing.assert_allclose(logits_of(wide, tokens).numpy(), NumpyLlama(wide).logits(tokens), rtol=0, atol=1e-9)


def test_logits_of_the_untouched_modules() -> None:
    """They round some steps to float32."""
    tokens = [*PROMPT, *range(40)]
    logits, by_hand = logits_of(tiny(2), tokens).numpy(), NumpyLlama(tiny(2)).logits(tokens)

    np.testing.assert_allclose(logits, by_hand, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(1.0, seed=1), Sampling(0.7, top_k=8, seed=2), Sampling(1.5, top_p=0.8, seed=3)]
)
def test_texts(wide: LlamaForCausalLM, sampling: Sampling) -> None:
    by_hand = text_by_hand(wide, sampling)

    assert decode(wide, Request("row", tuple(PROMPT), TOKENS, sampling)) == by_hand
    assert len(set(by_hand)) > 3


def test_eos_ends_the_text() -> None:
    request = Request("row", tuple(PROMPT), TOKENS, Sampling(1.0, seed=1))
    text = decode(tiny(2), request)

    assert decode(tiny(2), request, frozenset({text[5]})) == text[: text.index(text[5])]
