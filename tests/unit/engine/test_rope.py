"""Frequencies that depend on the length of a text: one set a row, whatever the batch; texts as the oracle's."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from engine.attention import stock_attention
from engine.loop import Engine, Options
from engine.request import Drafter, Request, Sampling
from engine.rope import RopeRule, fresh_rope, rule_of
from engine.skipset import SkipSet
from engine.stock import StockEngine
from tests.tools.decoding import expected, run
from tests.tools.families import build
from tests.tools.generating import generate
from tests.tools.networks import VOCABULARY

BOUND = 32
LONG: dict[str, Any] = {
    "max_position_embeddings": 4 * BOUND,
    "original_max_position_embeddings": BOUND,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": [1.0, 1.1, 1.2, 1.3],
        "long_factor": [1.5, 2.0, 3.0, 5.0],
        "original_max_position_embeddings": BOUND,
    },
}
DYNAMIC: dict[str, Any] = {
    "max_position_embeddings": BOUND,
    "rope_parameters": {"rope_type": "dynamic", "factor": 40.0, "rope_theta": 10_000.0},
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "phi3 longrope": ("phi3", LONG),
    "llama longrope": ("llama", LONG),
    "llama dynamic": ("llama", DYNAMIC),
    "cohere dynamic": ("cohere", DYNAMIC),  # turns neighbouring pairs
    "falcon dynamic": ("falcon", DYNAMIC),  # runs its own attention
    "gpt_neox dynamic": (
        "gpt_neox",
        {**DYNAMIC, "rope_parameters": {**DYNAMIC["rope_parameters"], "partial_rotary_factor": 0.5}},
    ),
    "gemma3 dynamic": (
        "gemma3_text",  # one dictionary for each type of layer
        {
            "sliding_window": 9,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "max_position_embeddings": BOUND,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
                "full_attention": DYNAMIC["rope_parameters"],
            },
        },
    ),
}
OPTIONS = Options(rows=8, length=96, prefill_tokens=16)
SKIP_SET = SkipSet.of([1], [2])
CHANGES = pytest.mark.parametrize("kind", KINDS)


def network_of(kind: str) -> PreTrainedModel:
    family, own = KINDS[kind]
    return build(family, **own)


def request(
    name: str, length: int, tokens: int, drafter: Drafter = Drafter.LOOKUP, temperature: float = 0.0
) -> Request:
    prompt = tuple((5 * step + step * step // 3 + length) % VOCABULARY for step in range(length))
    return Request(name, prompt, tokens, Sampling(temperature, seed=length), drafter=drafter)


# On either side of the bound, and across it: the prompt below, the extent above.
REQUESTS = (
    request("below", 9, 8, Drafter.SKIP),
    request("to the bound", BOUND - 8, 8),
    request("across by one", BOUND - 8, 9, Drafter.SKIP),
    request("across", 12, 40, Drafter.PLAIN),
    request("across, drawn", 20, 30, Drafter.SKIP, temperature=0.8),
    request("above", BOUND + 9, 12),
)


@CHANGES
def test_rows_on_both_sides_share_a_batch(kind: str) -> None:
    network = network_of(kind)

    outcome = run(Engine(network, OPTIONS, skip_set=SKIP_SET), REQUESTS)

    assert outcome.tokens == expected(network, REQUESTS)
    assert outcome.finished["across, drawn"].statistics.drafted > 0


@CHANGES
def test_a_text_depends_on_no_other_row_and_no_earlier_one(kind: str) -> None:
    network = network_of(kind)
    engine = Engine(network, OPTIONS, skip_set=SKIP_SET)

    together = run(engine, REQUESTS).tokens
    alone = {one.id: run(engine, [one]).tokens[one.id] for one in reversed(REQUESTS)}

    assert alone == together


@CHANGES
def test_texts_that_stay_below_are_those_of_generate(kind: str) -> None:
    network = network_of(kind)
    engine = Engine(network, OPTIONS, skip_set=SKIP_SET)
    below = [one for one in REQUESTS if one.extent <= BOUND]

    outcome = run(engine, [*REQUESTS[-2:], *below])

    with stock_attention(network), fresh_rope(network):
        for one in below:
            assert outcome.tokens[one.id] == generate(network, one.prompt, one.max_tokens)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "longrope" in kind])
def test_texts_that_stay_above_are_those_of_generate(kind: str) -> None:
    network = network_of(kind)
    engine = Engine(network, OPTIONS, skip_set=SKIP_SET)

    outcome = run(engine, REQUESTS)

    with stock_attention(network), fresh_rope(network):
        assert outcome.tokens["above"] == generate(network, REQUESTS[-1].prompt, REQUESTS[-1].max_tokens)


@CHANGES
def test_a_prefix_is_shared_only_between_rows_turned_alike(kind: str) -> None:
    """A long common prefix, a short row and a long one: keys of one are wrong for the other."""
    network = network_of(kind)
    first = request("short", 24, 4)
    second = Request("long", (*first.prompt, 3, 1), 40, drafter=Drafter.LOOKUP)
    engine = Engine(network, OPTIONS)

    outcome = run(engine, [first, second], arrivals={"long": 3})

    assert outcome.tokens == expected(network, [first, second])


@CHANGES
def test_the_set_matters(kind: str) -> None:
    """What the tests above rest on: the two sets give different texts."""
    network = network_of(kind)
    short = request("short", 8, BOUND - 8)
    long = Request("long", short.prompt, 80)

    texts = expected(network, [short, long])

    assert texts["short"] != texts["long"][: short.max_tokens]


@CHANGES
def test_the_plain_engine_goes_by_the_same_rule(kind: str) -> None:
    network = network_of(kind)
    plain = [replace(one, drafter=Drafter.PLAIN) for one in reversed(REQUESTS)]

    outcome = run(StockEngine(network, OPTIONS, why="a test"), plain)

    assert outcome.tokens == expected(network, REQUESTS)


def test_parked_rows_keep_their_set() -> None:
    network = network_of("llama dynamic")
    engine = Engine(network, Options(rows=2, length=96, prefill_tokens=16))
    bulk = request("bulk", 10, 50)
    urgent = [Request(f"urgent {number}", (number, 5, 9), 6, interactive=True) for number in range(3)]

    outcome = run(engine, [bulk, *urgent], arrivals={"urgent 0": 4, "urgent 1": 4, "urgent 2": 5})

    assert outcome.tokens == expected(network, [bulk, *urgent])


@pytest.mark.parametrize(
    ("rule", "sets"),
    [
        (RopeRule(BOUND, has_two_sets=True), [BOUND, BOUND, BOUND + 1, BOUND + 1]),
        (RopeRule(BOUND, has_two_sets=False), [BOUND, BOUND, BOUND + 1, 90]),
    ],
)
def test_sets_are_named_by_a_length(rule: RopeRule, sets: list[int]) -> None:
    assert [rule.set_of(extent) for extent in (1, BOUND, BOUND + 1, 90)] == sets


@pytest.mark.parametrize("kind", ["default", "linear", "llama3", "yarn"])
def test_most_networks_have_no_rule(kind: str) -> None:
    own = {
        "rope_type": kind,
        "rope_theta": 10_000.0,
        "factor": 2.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    }
    network = build("llama", rope_parameters=own)

    assert rule_of(network.config) is None
    engine = Engine(network, OPTIONS)
    one = request("it", 30, 8)
    assert run(engine, [one]).tokens == expected(network, [one])


def test_stock_modules_keep_no_memory_of_what_was_served() -> None:
    network = network_of("llama dynamic")
    tokens = torch.tensor([[7, 3, 9, 1]])
    with torch.inference_mode(), stock_attention(network):
        before = network(tokens, use_cache=False).logits

    run(Engine(network, OPTIONS), REQUESTS[-1:])

    with torch.inference_mode(), stock_attention(network):
        assert torch.equal(network(tokens, use_cache=False).logits, before)
