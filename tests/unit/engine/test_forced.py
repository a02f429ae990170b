"""Drafts that are all wrong, all right, or right for a while: the text is the same, only the verifies differ."""

import copy
from dataclasses import replace
from random import Random

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from engine.loop import Engine, Options
from engine.request import Drafter, Request, Sampling
from engine.skipset import SkipSet
from tests.tools.decoding import expected, guess_with, run
from tests.tools.networks import VOCABULARY, tiny

NETWORK = tiny(3)
WIDTH = 5
TOKENS = 24
REQUESTS = tuple(
    Request(
        f"row{number}",
        tuple(range(number, 3 * number + 5)),
        TOKENS,
        Sampling(0.9 * (number % 2), seed=number),
        drafter=Drafter.SKIP,
    )
    for number in range(5)
)
TEXTS = expected(NETWORK, REQUESTS)


def engine_guessing(guesses: dict[str, tuple[int, ...]]) -> Engine:
    engine = Engine(NETWORK, Options(rows=4, length=64, width=WIDTH), skip_set=SkipSet.of([0]))
    guess_with(engine, guesses)
    return engine


def wrong(token: int) -> int:
    return (token + 1) % VOCABULARY


def test_always_right() -> None:
    outcome = run(engine_guessing(TEXTS), REQUESTS)

    assert outcome.tokens == TEXTS
    for finished in outcome.finished.values():
        statistics = finished.statistics
        assert statistics.accepted == statistics.drafted > 0
        assert statistics.verifies == 5  # four drafts and one more: 5 + 5 + 5 + 5 + 4


def test_always_wrong() -> None:
    outcome = run(engine_guessing({one: tuple(map(wrong, text)) for one, text in TEXTS.items()}), REQUESTS)

    assert outcome.tokens == TEXTS
    for finished in outcome.finished.values():
        assert finished.statistics.accepted == 0 < finished.statistics.drafted
        assert finished.statistics.verifies == TOKENS


@settings(max_examples=25)
@given(st.randoms(use_true_random=False))
def test_right_now_and_then(chance: Random) -> None:
    guesses = {
        identity: tuple(token if chance.random() < 0.75 else wrong(token) for token in text)
        for identity, text in TEXTS.items()
    }

    outcome = run(engine_guessing(guesses), REQUESTS)

    assert outcome.tokens == TEXTS


@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_drafter_may_offer_less_than_it_might(size: int) -> None:
    guesses = {one: text[:size] for one, text in TEXTS.items()}

    assert run(engine_guessing(guesses), REQUESTS).tokens == TEXTS


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(1.2, top_p=0.9, seed=3),
        Sampling(1.0, seed=4, repetition_penalty=1.4, frequency_penalty=1.5, presence_penalty=0.7),
        Sampling(1.0, seed=5, logit_bias=((7, 6.0),), min_tokens=TOKENS),
    ],
    ids=["greedy", "sampled", "penalties", "bias"],
)
def test_skipping_what_does_nothing_drafts_every_token_right(sampling: Sampling) -> None:
    """Draft and verify then see the same numbers, so nothing may stand between their picks: noise, counts, position."""
    network = copy.deepcopy(NETWORK)
    network.model.layers[1].self_attn.o_proj.weight.zero_()
    engine = Engine(network, Options(rows=4, length=64), eos=frozenset({7}), skip_set=SkipSet.of([1]))
    requests = [replace(request, sampling=sampling) for request in REQUESTS]

    outcome = run(engine, requests)

    assert outcome.tokens == expected(network, requests, frozenset({7}))
    assert {finished.statistics.acceptance_rate for finished in outcome.finished.values()} == {1.0}
