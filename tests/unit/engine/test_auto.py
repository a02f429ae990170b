"""``auto`` against every fixed drafter, counted in the costs of the passes that were run: no clock, so it can be exact.

Devices and networks are chosen so that each drafter is the best one somewhere.
"""

import copy
from functools import cache

import pytest
from transformers import LlamaForCausalLM

from engine.costs import Grid, StepCosts
from engine.loop import Engine, Options
from engine.request import Drafter, Request, Sampling
from engine.round import RoundRecord
from engine.skipset import SkipSet
from tests.tools.decoding import run
from tests.tools.networks import VOCABULARY, tiny

SKIP_SET = SkipSet.of([1, 2], [1, 2])
FIXED = (Drafter.PLAIN, Drafter.LOOKUP, Drafter.SKIP, Drafter.CASCADE)
TOKENS = 100


def grid(one: float, sixteen: float, rows: float) -> Grid:
    """Costs that grow with the width, by a factor up to ``sixteen``, and with the rows, by ``rows`` a row."""
    return Grid((1, 16), (1, 16), tuple((one * scale, one * scale * sixteen) for scale in (1.0, 1.0 + 15 * rows)))


DEVICES = {
    "memory bound": StepCosts(grid(1.0, 1.2, 0.01), grid(0.3, 1.2, 0.01)),
    "half the network": StepCosts(grid(1.0, 1.6, 0.05), grid(0.55, 1.6, 0.05)),
    "arithmetic bound": StepCosts(grid(1.0, 12.0, 0.9), grid(0.8, 12.0, 0.9)),
}


@cache
def network_of(kind: str) -> LlamaForCausalLM:
    """Skipping is always right, or hardly ever."""
    network = tiny(4, seed=3)
    if kind == "skippable":
        network = copy.deepcopy(network)
        for layer in (1, 2):
            network.model.layers[layer].self_attn.o_proj.weight.zero_()
            network.model.layers[layer].mlp.down_proj.weight.zero_()
    return network


def requests(drafter: Drafter, batch: int, kind: str) -> list[Request]:
    """Greedy texts of these networks soon repeat themselves; sampled hot ones never do."""
    temperature = {"repetitive": 0.0, "free": 1.5}[kind]
    return [
        Request(
            str(number),
            tuple((number * 5 + step * 7) % VOCABULARY for step in range(12)),
            TOKENS,
            Sampling(temperature, seed=number),
            drafter=drafter,
            interactive=True,
        )
        for number in range(batch)
    ]


def tokens_per_cost(network: LlamaForCausalLM, costs: StepCosts, asked: list[Request]) -> float:
    """What an engine that has decoded some text already makes of the requests."""
    engine = Engine(network, Options(rows=len(asked), length=160), skip_set=SKIP_SET, costs=costs)
    run(engine, asked)
    records: list[RoundRecord] = []
    engine.on_round = records.append
    run(engine, asked)
    draft = costs.draft
    assert draft is not None
    spent = sum(
        costs.verify.of(one.batch, one.width) + sum(draft.of(one.batch, width) for width in one.draft_widths)
        for one in records
    )
    return sum(one.tokens for one in records) / spent


@pytest.mark.parametrize(
    ("batch", "device", "skipping", "text"),
    [
        (1, "memory bound", "skippable", "free"),
        (1, "memory bound", "stubborn", "repetitive"),
        (1, "half the network", "skippable", "repetitive"),
        (1, "half the network", "stubborn", "free"),
        (4, "memory bound", "skippable", "repetitive"),
        (4, "half the network", "skippable", "free"),
        (4, "arithmetic bound", "stubborn", "repetitive"),
        (4, "arithmetic bound", "skippable", "free"),
    ],
)
def test_auto_is_close_to_the_best_and_never_worse_than_plain(
    batch: int, device: str, skipping: str, text: str
) -> None:
    network, costs = network_of(skipping), DEVICES[device]

    rates = {drafter: tokens_per_cost(network, costs, requests(drafter, batch, text)) for drafter in Drafter}

    assert rates[Drafter.AUTO] >= 0.97 * max(rates[drafter] for drafter in FIXED), rates
    assert rates[Drafter.AUTO] >= 0.98 * rates[Drafter.PLAIN], rates
