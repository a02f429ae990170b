"""Every family of the table, on tiny random networks in float64: served, skipped and drafted exactly.

Windows are short, so that sliding-window layers slide.
"""

from functools import cache
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel

from engine.attention import stock_attention
from engine.family import FAMILIES
from engine.loop import Engine, Options
from engine.request import Drafter, Request, Sampling
from engine.skipset import SkipSet
from engine.view import draft_view
from tests.tools.decoding import expected, run
from tests.tools.networks import VOCABULARY

WINDOW = 9
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "moe_intermediate_size": 24, "num_experts_per_tok": 2}
OWN: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": WINDOW},
    "mixtral": {"sliding_window": WINDOW, **EXPERTS},
    "qwen2": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2},
    "qwen3": {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2, "head_dim": 8},
    "qwen3_moe": {**EXPERTS, "head_dim": 8},
    "phi3": {"sliding_window": WINDOW},
    "gemma": {"head_dim": 8},
    "gemma2": {"sliding_window": WINDOW, "head_dim": 8},
    "gemma3_text": {"sliding_window": WINDOW, "head_dim": 8},
    "starcoder2": {"sliding_window": WINDOW},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "gptj": {"rotary_dim": 4},
}
DRAFTERS = (Drafter.SKIP, Drafter.LOOKUP, Drafter.PLAIN, Drafter.SKIP)
REQUESTS = tuple(
    Request(
        str(number),
        tuple((number * 7 + step * (number + 1)) % VOCABULARY for step in range(5 + 9 * number)),
        10,
        Sampling(0.9 * (number % 2), seed=number),
        drafter=drafter,
    )
    for number, drafter in enumerate(DRAFTERS)
)


@cache
def network_of(kind: str) -> PreTrainedModel:
    config = CONFIG_MAPPING[kind](**{**SIZES, **OWN.get(kind, {})})
    config._experts_implementation = "eager"  # the other one has no float64
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network: PreTrainedModel = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    network.to(torch.float64)  # type: ignore[arg-type]  # transformers hides torch's own signature
    network.eval()  # type: ignore[no-untyped-call]
    return network.requires_grad_(False)


def logits_of(network: PreTrainedModel) -> torch.Tensor:
    tokens = torch.tensor([list(range(20, 40))])
    with torch.inference_mode(), stock_attention(network):
        logits: torch.Tensor = network(tokens, use_cache=False).logits
    return logits


@pytest.mark.parametrize("kind", FAMILIES)
def test_texts(kind: str) -> None:
    network = network_of(kind)
    engine = Engine(network, Options(rows=4, length=64, prefill_tokens=16), skip_set=SkipSet.of([1, 2], [2, 3]))

    outcome = run(engine, REQUESTS)

    assert outcome.tokens == expected(network, REQUESTS)
    assert outcome.finished["0"].statistics.drafted > 0


@pytest.mark.parametrize("kind", FAMILIES)
def test_views(kind: str) -> None:
    """Nothing skipped changes no bit; anything skipped changes the logits; the network stays as it was."""
    network = network_of(kind)
    whole = logits_of(network)

    views = [draft_view(network, SkipSet.from_bits(bits)) for bits in ("00000000", "01000000", "00000100")]

    assert [torch.equal(logits_of(view), whole) for view in views] == [True, False, False]
    assert torch.equal(logits_of(network), whole)
