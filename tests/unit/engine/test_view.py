"""Draft views: exactly the network without some sub-layers, sharing its parameters, leaving it alone."""

import copy

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from transformers import LlamaForCausalLM, MambaConfig, MambaForCausalLM, PreTrainedModel

from engine.attention import stock_attention
from engine.errors import BadRequest, Unsupported
from engine.skipset import SkipSet
from engine.view import draft_view
from tests.tools.networks import tiny

LAYERS = 4
TOKENS = torch.tensor([[5, 9, 1, 44, 9, 1], [3, 3, 60, 0, 7, 12]])
SUBSETS = st.frozensets(st.integers(0, LAYERS - 1))


def logits_of(network: PreTrainedModel) -> torch.Tensor:
    with torch.inference_mode(), stock_attention(network):
        logits: torch.Tensor = network(TOKENS, use_cache=False).logits
    return logits


def without(attention: frozenset[int], mlp: frozenset[int]) -> LlamaForCausalLM:
    """The same network built apart: what is skipped has weights that make it output zeros, or is not there at all."""
    network = copy.deepcopy(tiny(LAYERS))
    for index, layer in enumerate(network.model.layers):
        if index in attention:
            layer.self_attn.o_proj.weight.zero_()
        if index in mlp:
            layer.mlp.down_proj.weight.zero_()
    kept = [layer for index, layer in enumerate(network.model.layers) if index not in attention & mlp]
    network.model.layers = torch.nn.ModuleList(kept)
    network.config.num_hidden_layers = len(kept)
    return network


def test_an_empty_skip_set_changes_no_bit() -> None:
    network = tiny(LAYERS)

    assert torch.equal(logits_of(draft_view(network, SkipSet())), logits_of(network))


@settings(max_examples=40)
@given(SUBSETS, SUBSETS)
def test_as_the_network_built_without(attention: frozenset[int], mlp: frozenset[int]) -> None:
    view = draft_view(tiny(LAYERS), SkipSet(attention, mlp))

    assert torch.equal(logits_of(view), logits_of(without(attention, mlp)))


def test_parameters_are_shared_and_the_network_is_as_before() -> None:
    network = tiny(LAYERS)
    names, before = [name for name, _ in network.named_modules()], logits_of(network)

    view = draft_view(network, SkipSet.of([0, 2], [2, 3]))

    storages = {parameter.data_ptr() for parameter in network.parameters()}
    assert {parameter.data_ptr() for parameter in view.parameters()} < storages
    assert [name for name, _ in network.named_modules()] == names
    assert torch.equal(logits_of(network), before)


def test_views_coexist() -> None:
    network = tiny(LAYERS)
    sets = [SkipSet.of([0], []), SkipSet.of([], [0]), SkipSet.of([1, 2], [2])]
    alone = [logits_of(draft_view(network, one)) for one in sets]

    views = [draft_view(network, one) for one in sets]

    for view, wanted in zip(reversed(views), reversed(alone), strict=True):
        assert torch.equal(logits_of(view), wanted)


def test_a_family_nobody_checked_is_refused() -> None:
    network = MambaForCausalLM(
        MambaConfig(vocab_size=10, hidden_size=8, num_hidden_layers=2, state_size=4, pad_token_id=0, eos_token_id=1)
    )

    with pytest.raises(Unsupported, match="mamba"):
        draft_view(network, SkipSet.of([0]))


@pytest.mark.parametrize("skip_set", [SkipSet.of([LAYERS]), SkipSet.of([], [LAYERS]), SkipSet.of([-1])])
def test_layers_the_network_lacks_are_refused(skip_set: SkipSet) -> None:
    with pytest.raises(BadRequest, match="4 layers"):
        draft_view(tiny(LAYERS), skip_set)
