"""Greedy texts are those of ``transformers.generate`` on a network of its own, with its own attention and cache."""

import copy
from functools import cache

import pytest

from engine.loop import Engine, Options
from engine.request import Drafter, Request
from engine.skipset import SkipSet
from tests.tools.decoding import run
from tests.tools.generating import generate
from tests.tools.networks import tiny

PROMPTS = ((5,), (1, 2, 3) * 6, tuple(range(40)), (8, 8, 8, 9), tuple(range(30, 10, -1)))
TOKENS = 24


@cache
def generated(layers: int) -> dict[str, tuple[int, ...]]:
    """What transformers generates for each prompt, one at a time."""
    network = copy.deepcopy(tiny(layers))
    network.set_attn_implementation("sdpa")
    return {str(number): generate(network, prompt, TOKENS) for number, prompt in enumerate(PROMPTS)}


@pytest.mark.parametrize("layers", [2, 4])
@pytest.mark.parametrize("drafter", [Drafter.PLAIN, Drafter.SKIP, Drafter.LOOKUP, Drafter.AUTO])
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_greedy_texts(layers: int, drafter: Drafter, rows: int) -> None:
    engine = Engine(tiny(layers), Options(rows=rows, length=80, prefill_tokens=16), skip_set=SkipSet.of([1], [0]))
    requests = [Request(str(number), prompt, TOKENS, drafter=drafter) for number, prompt in enumerate(PROMPTS)]

    assert run(engine, requests).tokens == generated(layers)
