"""Mixtures of experts: ours computes what transformers does, and the bits of reproducible rows owe nothing to mates."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest
import torch
from transformers import PreTrainedModel

from engine.experts import NAME, apply, fixed
from engine.loop import Engine, Options
from engine.request import Drafter, Finished, Request, Sampling
from engine.skipset import SkipSet
from tests.tools.decoding import run
from tests.tools.families import LAYERS, network_of
from tests.tools.networks import VOCABULARY

MIXTURES = ("mixtral", "qwen2_moe", "qwen3_moe", "granitemoe", "olmoe")
EVERY = pytest.mark.parametrize("kind", MIXTURES)
OPTIONS = Options(rows=4, length=64, prefill_tokens=16, width=8, padded_width=4)
KEPT = Request("kept", tuple((7 * step + 3) % VOCABULARY for step in range(21)), 12, reproducible=True, logprobs=5)
MATES = tuple(
    Request(f"mate {number}", tuple((11 * step * number + 5) % VOCABULARY for step in range(9 * number)), 10 + number)
    for number in (1, 2, 3)
)


@cache
def rounding(kind: str) -> PreTrainedModel:
    """The family's tiny network in float32, whose products round."""
    network = deepcopy(network_of(kind))
    network.to(torch.float32)  # type: ignore[arg-type]  # transformers hides torch's own signature
    return network


@EVERY
def test_the_outputs_are_the_networks_own(kind: str) -> None:
    network = network_of(kind)
    dice = torch.Generator().manual_seed(3)
    hidden = torch.randn(19, 32, dtype=torch.float64, generator=dice)
    weights, chosen = torch.rand(19, 4, dtype=torch.float64, generator=dice).topk(2)
    mixtures = [module for module in network.modules() if hasattr(module, "gate_up_proj")]

    assert len(mixtures) == LAYERS
    for module in mixtures:
        torch.testing.assert_close(apply(module, hidden, chosen, weights), module(hidden, chosen, weights))


@EVERY
def test_they_are_ours_for_a_while(kind: str) -> None:
    network = network_of(kind)
    before = network.get_experts_implementation()

    with fixed(network):
        assert network.get_experts_implementation() == {"": NAME}
    assert network.get_experts_implementation() == before


def test_what_goes_wrong_at_one_token_stays_there() -> None:
    """An expert multiplies tokens that are not its own as well."""
    module = next(module for module in network_of("mixtral").modules() if hasattr(module, "gate_up_proj"))
    hidden = torch.ones(3, 32, dtype=torch.float64)
    hidden[1] = float("inf")
    chosen, weights = torch.tensor([[0, 1], [2, 3], [1, 2]]), torch.full((3, 2), 0.5, dtype=torch.float64)

    out = apply(module, hidden, chosen, weights)

    assert torch.isfinite(out).all(-1).tolist() == [True, False, True]


@EVERY
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.0, seed=9)], ids=["greedy", "drawn"])
def test_reproducible_rows_have_the_same_bits_in_every_company(kind: str, sampling: Sampling) -> None:
    kept = replace(KEPT, sampling=sampling)
    alone = finish(kind, [kept])

    for drafter, mates in ((Drafter.PLAIN, MATES), (Drafter.LOOKUP, MATES[:1]), (Drafter.SKIP, MATES)):
        together = finish(kind, [*mates, replace(kept, drafter=drafter)])

        assert together.tokens == alone.tokens
        assert together.logprobs == alone.logprobs


def finish(kind: str, requests: list[Request]) -> Finished:
    engine = Engine(rounding(kind), OPTIONS, skip_set=SkipSet.of([1], [2]))
    return run(engine, requests).finished["kept"]
