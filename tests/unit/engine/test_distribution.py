"""Sampled tokens come from the exact distribution of the full network, position by position, whatever drafts.

The exact one is had by walking through all contexts of a tiny vocabulary, with warping written apart in numpy.
"""

from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.warping import probabilities
from engine.attention import stock_attention
from engine.loop import Engine, Options
from engine.request import Drafter, Request, Sampling
from engine.seeds import derive
from engine.skipset import SkipSet
from tests.tools.chance import fits
from tests.tools.decoding import run
from tests.tools.networks import tiny

VOCABULARY = 5
PROMPT = (1, 2, 3, 1, 2, 3, 1, 2)  # lookup has something to offer
DEPTH = 3
SEEDS = 1_200
NETWORK = tiny(2, seed=4, vocabulary=VOCABULARY, spread=0.2)
HOT, TOP_P, TOP_K = Sampling(1.0), Sampling(0.7, top_p=0.85), Sampling(1.6, top_k=3)
CASES = [
    (HOT, Drafter.PLAIN),
    (HOT, Drafter.SKIP),
    (HOT, Drafter.LOOKUP),
    (TOP_P, Drafter.SKIP),
    (TOP_K, Drafter.SKIP),
    (TOP_K, Drafter.LOOKUP),
]


@cache
def exact(sampling: Sampling) -> NDArray[np.float64]:
    """The joint distribution of the first tokens, [VOCABULARY] * DEPTH."""
    joint = np.ones(())
    for depth in range(DEPTH):
        contexts = [PROMPT + tuple(map(int, index)) for index in np.ndindex(joint.shape)]
        with torch.inference_mode(), stock_attention(NETWORK):
            logits = NETWORK(torch.tensor(contexts), use_cache=False).logits[:, -1].numpy()
        following = np.array([probabilities(line, sampling) for line in logits])
        joint = joint[..., None] * following.reshape((VOCABULARY,) * (depth + 1))
    return joint


@cache
def decoded(sampling: Sampling, drafter: Drafter) -> NDArray[np.int64]:
    """What the engine sampled for many seeds, [seeds, DEPTH]: half of them in sequence, half derived from one."""
    engine = Engine(NETWORK, Options(rows=100, length=16, width=4), skip_set=SkipSet.of([0], [1]))
    seeds = [*range(SEEDS // 2), *(derive(7, item) for item in range(SEEDS // 2))]
    requests = [
        Request(
            str(number),
            PROMPT,
            DEPTH,
            Sampling(sampling.temperature, sampling.top_k, sampling.top_p, seed),
            drafter=drafter,
        )
        for number, seed in enumerate(seeds)
    ]
    outcome = run(engine, requests)
    if drafter in (Drafter.SKIP, Drafter.LOOKUP):
        assert sum(finished.statistics.drafted for finished in outcome.finished.values()) > SEEDS // 2
    return np.array([outcome.tokens[request.id] for request in requests])


@pytest.mark.parametrize(("sampling", "drafter"), CASES)
def test_every_position(sampling: Sampling, drafter: Drafter) -> None:
    tokens, joint = decoded(sampling, drafter), exact(sampling)

    for position in range(DEPTH):
        marginal = joint.sum(axis=tuple(axis for axis in range(DEPTH) if axis != position))
        assert fits(np.bincount(tokens[:, position], minlength=VOCABULARY), marginal)


@pytest.mark.parametrize(("sampling", "drafter"), CASES)
def test_whole_texts(sampling: Sampling, drafter: Drafter) -> None:
    counts = np.zeros((VOCABULARY,) * DEPTH, dtype=np.int64)
    np.add.at(counts, tuple(decoded(sampling, drafter).T), 1)

    assert fits(counts, exact(sampling))


def test_the_test_sees_a_wrong_temperature() -> None:
    counts = np.zeros((VOCABULARY,) * DEPTH, dtype=np.int64)
    np.add.at(counts, tuple(decoded(HOT, Drafter.PLAIN).T), 1)

    assert not fits(counts, exact(Sampling(1.4)))
