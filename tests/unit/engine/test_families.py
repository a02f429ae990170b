"""Every family of the table, on tiny random networks in float64: served, skipped and drafted exactly."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from engine.attention import adopt, stock_attention
from engine.cache import CacheShape, SlotCache
from engine.family import family_of, windows
from engine.loop import Engine, Options
from engine.passes import Chunk, Pass, write
from engine.passes import logits_of as logits_of_pass
from engine.request import Drafter, Request, Sampling
from engine.skipset import SkipSet
from engine.view import draft_view
from tests.tools.decoding import expected, run
from tests.tools.families import LAYERS, NETWORKS, WINDOW, network_of
from tests.tools.generating import generate
from tests.tools.networks import VOCABULARY

TOKENS = [(3 * step * step + 7) % VOCABULARY for step in range(40)]
SKIP_SET = SkipSet.of([1, 2], [2, 3])
OPTIONS = Options(rows=8, length=64, prefill_tokens=16)


def stock_logits(network: PreTrainedModel, tokens: list[int] = TOKENS) -> torch.Tensor:
    """[length, vocabulary], by the network itself."""
    with torch.inference_mode(), stock_attention(network):
        logits: torch.Tensor = network(torch.tensor([tokens]), use_cache=False).logits[0]
    return logits


def requests_for(engine: Engine) -> list[Request]:
    """Every drafter the engine has, greedy and not, each behind a prompt of its own length."""
    return [
        Request(
            f"{drafter} {kind}",
            tuple((number * 7 + step * (number + 1)) % VOCABULARY for step in range(5 + 8 * number)),
            10,
            Sampling(0.9 * kind, seed=number),
            drafter=drafter,
        )
        for kind in range(2)
        for number, drafter in enumerate(engine.drafters)
    ]


@pytest.mark.parametrize("name", NETWORKS)
def test_texts(name: str) -> None:
    network = network_of(name)
    engine = Engine(network, OPTIONS, skip_set=SKIP_SET)
    requests = requests_for(engine)

    outcome = run(engine, requests)

    assert outcome.tokens == expected(network, requests)
    assert outcome.finished[f"{Drafter.SKIP} 0"].statistics.drafted > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_plain_texts_are_those_of_generate(name: str) -> None:
    network = network_of(name)
    engine = Engine(network, OPTIONS)

    outcome = run(engine, [Request("it", tuple(TOKENS[:20]), 12, drafter=Drafter.PLAIN)])

    with stock_attention(network):
        assert outcome.tokens["it"] == generate(network, TOKENS[:20], 12)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_of_ragged_passes(name: str) -> None:
    """Prompts written in pieces, then verifies of different lengths at different places in one pass."""
    network = network_of(name)
    shape = CacheShape.of(network, 3, 48)
    adopt(network)
    cache = SlotCache(shape, network.dtype, network.device)
    for slot, pieces in enumerate([(7, 14), (3,), (16, 32)]):
        starts = (0, *pieces[:-1])
        for start, end in zip(starts, pieces, strict=True):
            write(network, Pass(cache, slot, [Chunk(TOKENS[start:end], start)]))

    places = [(14, 6), (3, 1), (32, 4)]
    logits = logits_of_pass(network, Pass(cache, 0, [Chunk(TOKENS[at : at + width], at) for at, width in places]))

    whole = stock_logits(network)
    for row, (at, width) in enumerate(places):
        torch.testing.assert_close(logits[row, :width], whole[at : at + width], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_skipped_changes_no_bit(name: str) -> None:
    network = network_of(name)
    whole = stock_logits(network)

    assert torch.equal(stock_logits(draft_view(network, SkipSet())), whole)
    assert not torch.equal(stock_logits(draft_view(network, SkipSet.of([1]))), whole)
    assert not torch.equal(stock_logits(draft_view(network, SkipSet.of([], [1]))), whole)
    assert torch.equal(stock_logits(network), whole)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_skipped_layer_is_a_layer_that_is_not_there(name: str) -> None:
    network = network_of(name)

    skipped = stock_logits(draft_view(network, SkipSet.of([1, 2], [1, 2])))

    torch.testing.assert_close(skipped, stock_logits(without(network, 1, 2)), rtol=0, atol=1e-12)


def without(network: PreTrainedModel, *indices: int) -> PreTrainedModel:
    """The network as if built without some layers."""
    twin = copy.deepcopy(network)
    config: Any = twin.config
    kept = [index for index in range(LAYERS) if index not in indices]
    parent, _, name = f"{twin.base_model_prefix}.{family_of(twin).layers}".rpartition(".")
    layers = twin.get_submodule(f"{parent}.{name}")
    assert isinstance(layers, nn.ModuleList)
    setattr(twin.get_submodule(parent), name, nn.ModuleList(layers[index] for index in kept))
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[index] for index in kept]
    config.num_hidden_layers = len(kept)
    return twin


@pytest.mark.parametrize("name", NETWORKS)
def test_a_skipped_half_adds_nothing(name: str) -> None:
    network, halves = network_of(name), SkipSet.of([1], [2])

    skipped = stock_logits(draft_view(network, halves))

    assert torch.equal(skipped, stock_logits(muted(network, halves)))


def muted(network: PreTrainedModel, skip_set: SkipSet) -> PreTrainedModel:
    """The network with the outputs of the skipped halves set to zero, all modules in their places."""
    twin, family = copy.deepcopy(network), family_of(network)

    def mute(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        nothing = (
            inputs[1]
            if family.adds_residual and inputs[1:]
            else torch.zeros_like(output[0] if is_tuple(output) else output)
        )
        return (nothing, *output[1:]) if is_tuple(output) else nothing

    for half, indices in ((family.attention, skip_set.attention), (family.mlp, skip_set.mlp)):
        for index in indices:
            path = f"{twin.base_model_prefix}.{family.layers}.{index}.{half}"
            twin.get_submodule(path).register_forward_hook(mute)
    return twin


def is_tuple(output: Any) -> bool:
    return isinstance(output, tuple)


@pytest.mark.parametrize(
    "name", ["ministral", "qwen2", "qwen2_moe", "qwen3", "gemma2", "gemma3_text", "smollm3", "cohere2", "exaone4"]
)
def test_both_kinds_of_layer_are_in_one_network(name: str) -> None:
    """What the tests above rest on: windows shorter than their prompts beside layers that see everything."""
    assert set(windows(network_of(name))) == {WINDOW, None}


@pytest.mark.parametrize("name", ["mistral", "mixtral", "starcoder2", "phi3", "qwen3_moe"])
def test_one_window_is_for_all_layers(name: str) -> None:
    assert windows(network_of(name)) == [WINDOW] * LAYERS
