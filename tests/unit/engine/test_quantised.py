"""Quantised layers against their definition; whole quantised networks are as lossless as others."""

from copy import deepcopy

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import nn
from transformers import LlamaForCausalLM

from engine.loop import Engine, Options
from engine.packed import pack
from engine.quantised import (
    DigitLinear,
    QuantisedEmbedding,
    QuantisedLinear,
    is_exact_here,
    quantise,
    quantise_layers,
)
from engine.request import Drafter, Request, Sampling
from engine.skipset import SkipSet
from tests.tools.decoding import expected, run
from tests.tools.families import build
from tests.tools.networks import VOCABULARY, tiny

SIZES = st.tuples(st.integers(1, 20), st.integers(1, 90), st.integers(1, 70))  # tokens, in, out
needs_digits = pytest.mark.skipif(not is_exact_here(), reason="this processor saturates products of bytes")


def layer(inputs: int, outputs: int, *, bias: bool = True) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(inputs * 1000 + outputs)
    weight, scale = quantise(torch.randn(outputs, inputs, generator=generator))
    return weight, scale, torch.randn(outputs, generator=generator) if bias else None


def tokens(count: int, inputs: int) -> torch.Tensor:
    """Inputs of very different sizes, one token of zeros among them, and outliers as real networks have."""
    generator = torch.Generator().manual_seed(count)
    drawn = torch.randn(count, inputs, generator=generator) * 10.0 ** torch.arange(count).remainder(5).unsqueeze(1)
    drawn[:, 0] *= 300
    drawn[count // 2] = 0
    return drawn


@given(SIZES)
def test_a_weight_is_rounded_to_the_nearest_of_255_values(sizes: tuple[int, int, int]) -> None:
    _, inputs, outputs = sizes
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(inputs))

    whole, scale = quantise(weight)

    assert whole.dtype == torch.int8
    assert whole.abs().amax(1).tolist() == [127] * outputs
    assert bool(((whole * scale.unsqueeze(1) - weight).abs() <= 0.5001 * scale.unsqueeze(1)).all())


def test_a_channel_of_zeros_stays_one() -> None:
    whole, scale = quantise(torch.zeros(2, 3))

    assert (whole * scale.unsqueeze(1)).tolist() == [[0.0] * 3] * 2


@needs_digits
@settings(max_examples=40)
@given(SIZES, st.booleans())
def test_both_kinds_compute_the_layer_to_float32s_precision(sizes: tuple[int, int, int], bias: bool) -> None:
    count, inputs, outputs = sizes
    weight, scale, offset = layer(inputs, outputs, bias=bias)
    given_tokens = tokens(count, inputs)
    exact = given_tokens.double() @ (weight.double() * scale.double().unsqueeze(1)).T
    exact = exact if offset is None else exact + offset
    largest = given_tokens.double().abs().amax(1, keepdim=True)
    most = largest * (weight.double().abs() * scale.double().unsqueeze(1)).sum(1) + exact.abs()
    for kind in (DigitLinear, QuantisedLinear):
        off = (kind(weight, scale, offset)(given_tokens).double() - exact).abs()

        assert bool((off <= most * 2.0**-22).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_16_bits_hold_what_wide_inputs_with_outliers_add_up_to(dtype: torch.dtype) -> None:
    """On the way a sum may be many times as large as what comes of it, never as large as float16's 65,504."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(3, 4096, generator=generator)
    inputs[:, :8] *= 1000
    inputs[1] *= 0.01
    weight, scale = quantise(0.02 * torch.randn(16, 4096, generator=generator))

    out = QuantisedLinear(weight, scale)(inputs.to(dtype)).double()

    exact = inputs.to(dtype).double() @ (weight.double() * scale.double().unsqueeze(1)).T
    most = inputs.to(dtype).double().abs() @ (weight.double().abs() * scale.double().unsqueeze(1)).T
    assert bool(((out - exact).abs() <= most * torch.finfo(dtype).eps).all())


def test_16_bits_keep_the_precision_of_a_channel_of_tiny_weights() -> None:
    """Its scale alone has hardly a bit in float16."""
    weight, scale = quantise(torch.tensor([[1e-5, -1e-5, 5e-6]]))
    inputs = torch.tensor([[100, -100, 100]], dtype=torch.float16)

    out = QuantisedLinear(weight, scale)(inputs)

    torch.testing.assert_close(out, torch.tensor([[2.5e-3]], dtype=torch.float16), rtol=0.02, atol=0)


@needs_digits
@given(SIZES, st.integers(0, 19))
def test_a_tokens_product_is_the_same_bits_in_every_company(sizes: tuple[int, int, int], place: int) -> None:
    count, inputs, outputs = sizes
    linear = DigitLinear(*layer(inputs, outputs))
    several = tokens(count, inputs)
    here = place % count

    assert torch.equal(linear(several)[here], linear(several[here : here + 1])[0])
    assert torch.equal(linear(several.unsqueeze(0))[0], linear(several))


@needs_digits
@given(SIZES)
def test_inputs_may_be_laid_out_in_any_order(sizes: tuple[int, int, int]) -> None:
    count, inputs, outputs = sizes
    linear = DigitLinear(*layer(inputs, outputs))
    several = tokens(count, inputs)

    assert torch.equal(linear(several.T.contiguous().T), linear(several))
    assert torch.equal(linear(several.expand(2, count, inputs).transpose(0, 1))[:, 1], linear(several))


@needs_digits
def test_what_is_not_finite_stays_so() -> None:
    linear = DigitLinear(*layer(8, 4))

    out = linear(torch.tensor([[float("nan")] * 8, [float("inf"), *[0.0] * 7], [1.0] * 8]))

    assert torch.isfinite(out).all(-1).tolist() == [False, False, True]


def test_a_tied_embedding_is_stored_as_the_head_is() -> None:
    config = deepcopy(tiny(1).config)
    config.tie_word_embeddings = True
    tied = LlamaForCausalLM(config).requires_grad_(False)
    given_tokens = torch.arange(VOCABULARY)
    whole, scale = quantise(tied.lm_head.weight)

    count = quantise_layers(tied)

    assert count == 7 + 1
    assert isinstance(tied.get_input_embeddings(), QuantisedEmbedding)
    assert torch.equal(tied.get_input_embeddings()(given_tokens), whole * scale.unsqueeze(1))
    assert pack(tied) == 0
    assert not any(isinstance(module, nn.Linear | nn.Embedding) for module in tied.modules())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16], ids=str)
def test_a_network_of_which_no_other_parameter_is_left_knows_its_dtype(dtype: torch.dtype) -> None:
    """OLMo's norms have none; its layers and its tied embedding are quantised."""
    network = build("olmo", tie_word_embeddings=True)
    network.to(dtype)  # type: ignore[arg-type]  # transformers hides torch's own signature

    quantise_layers(network)

    assert [parameter.numel() for parameter in network.parameters()] == [0]
    assert (network.dtype, network.device) == (dtype, torch.device("cpu"))
    asked = [Request("it", (1, 2, 3), 5, drafter=Drafter.LOOKUP)]
    assert run(Engine(network, Options(rows=2, length=32)), asked).failed == {}


@pytest.mark.parametrize("drafter", [Drafter.PLAIN, Drafter.SKIP, Drafter.LOOKUP, Drafter.AUTO])
def test_texts_are_those_of_the_quantised_network(drafter: Drafter) -> None:
    network = deepcopy(tiny(3, seed=3))  # float64: equality is strict
    quantise_layers(network)
    asked = requests(drafter)

    outcome = run(Engine(network, Options(rows=3, length=120), skip_set=SkipSet.of([0], [2])), asked)

    assert outcome.tokens == expected(network, asked)
    assert outcome.tokens != expected(tiny(3, seed=3), asked)  # it is another network than the given one


def requests(drafter: Drafter) -> list[Request]:
    prompts = [(1, 2, 3, 1, 2, 3, 1, 2), (9, 8, 7), tuple(range(30))]
    samplings = [Sampling(), Sampling(0.9, seed=5), Sampling(0.5, top_k=5, seed=6)]
    return [
        Request(str(number), prompt, 30, sampling, drafter=drafter)
        for number, (prompt, sampling) in enumerate(zip(prompts, samplings, strict=True))
    ]
