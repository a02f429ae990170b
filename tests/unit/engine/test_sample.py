"""Warping against a plain numpy reference, ties by token id, and picks at the edges of the number range."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from bench.warping import kept
from engine.errors import BadRequest
from engine.noise import gumbel
from engine.process import Prefix
from engine.request import Sampling
from engine.sample import pick, warp

MIN_PS = (0.0, 0.0, 1e-6, 0.0513, 0.3011)
TOP_PS = (1.0, 0.9991, 0.9037, 0.4919, 0.1013, 1e-9)  # no fraction that equal tokens could reach exactly
# Few distinct values, so that ties are common.
LOGITS = st.lists(st.sampled_from((-3.0, -0.5, 0.0, 0.25, 1.0, 4.0)), min_size=1, max_size=30)


def survivors(logits: list[float] | torch.Tensor, sampling: Sampling) -> list[int]:
    scores = warp(torch.as_tensor(logits, dtype=torch.float64).unsqueeze(0), sampling)[0]
    return torch.nonzero(torch.isfinite(scores)).flatten().tolist()


@settings(max_examples=300)
@given(LOGITS, st.integers(0, 32), st.sampled_from(TOP_PS), st.sampled_from(MIN_PS), st.sampled_from((0.3, 1.0, 2.5)))
def test_masks(logits: list[float], top_k: int, top_p: float, min_p: float, temperature: float) -> None:
    sampling = Sampling(temperature, top_k, top_p, min_p=min_p)

    assert survivors(logits, sampling) == sorted(kept(np.array(logits), sampling))


def test_of_equals_the_smaller_ids_stay() -> None:
    logits = [1.0, 2.0, 1.0, 1.0, 2.0, 1.0]

    assert survivors(logits, Sampling(1.0, top_k=4)) == [0, 1, 2, 4]
    assert survivors([0.0] * 8, Sampling(1.0, top_p=0.5)) == [0, 1, 2, 3]


@pytest.mark.parametrize("vocabulary", [1024, 1025, 3000])
@pytest.mark.parametrize("spread", [0.0, 0.01, 5.0])
@pytest.mark.parametrize("top_p", [0.5, 0.97])
def test_more_candidates_than_are_tried_first(vocabulary: int, spread: float, top_p: float) -> None:
    """Flat distributions need more than the 1,024 most likely tokens; a mate with a peaked one needs few."""
    noise = np.random.default_rng(vocabulary).normal(size=vocabulary)
    flat, peaked = np.round(noise * spread, 3), noise * 8
    sampling = Sampling(1.0, top_p=top_p)

    scores = warp(torch.tensor(np.stack([flat, peaked])), sampling)

    for line, logits in zip(scores, (flat, peaked), strict=True):
        assert torch.nonzero(torch.isfinite(line)).flatten().tolist() == sorted(kept(logits, sampling))


def test_what_stays_keeps_its_score() -> None:
    logits = torch.tensor([[0.5, 3.0, -1.0, 2.0]])

    scores = warp(logits, Sampling(0.5, top_k=2))

    minus = float("-inf")
    assert (scores - scores.max()).tolist() == [[minus, 0.0, minus, -2.0]]


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-30, 1e-3])
def test_the_coldest_draws_are_greedy(temperature: float) -> None:
    logits = torch.tensor([[[1.0, 700.0, 699.0, 3.0], [-900.0, -901.0, -5.0, -6.0]]])

    assert pick(logits, [Sampling(temperature, seed=3)], torch.tensor([[0, 1]])).tokens == [[1, 2]]


def test_greedy_ties_go_to_the_smaller_id() -> None:
    logits = torch.zeros(2, 1, 50_000)
    logits[0, 0, [70, 41_000, 300]] = 1.0

    assert pick(logits, [Sampling(), Sampling()], torch.zeros(2, 1, dtype=torch.long)).tokens == [[70], [0]]


def test_each_row_and_column_has_its_own_rule_and_noise() -> None:
    torch.manual_seed(5)
    logits = torch.randn(3, 4, 40)
    samplings = [Sampling(1.0, seed=9), Sampling(), Sampling(0.7, top_k=3, seed=2)]
    positions = torch.tensor([[5, 6, 7, 8], [0, 1, 2, 3], [50, 51, 0, 0]])

    picks = pick(logits, samplings, positions)

    for row, sampling in enumerate(samplings):
        for column in range(4):
            line, position = logits[row, column].double(), positions[row, column : column + 1] + 1
            if not sampling.is_greedy:
                noise = gumbel(torch.tensor([sampling.seed]), position, torch.arange(40))[0]
                stays = torch.tensor(kept(line.numpy(), sampling))
                line = torch.full((40,), float("-inf"), dtype=torch.float64).index_put(
                    (stays,), (line / sampling.temperature + noise)[stays]
                )
            assert picks.tokens[row][column] == int(line.argmax())
    assert picks.is_finite == [[True] * 4] * 3


def test_a_processor_that_changes_nothing_changes_no_draw() -> None:
    torch.manual_seed(6)
    logits, positions = torch.randn(1, 5, 40), torch.arange(5).unsqueeze(0)
    neutral = Sampling(1.0, seed=9, logit_bias=((3, 0.0),))

    picks = pick(logits, [neutral], positions, [Prefix((1,), (), (2, 3, 4, 5), frozenset())])

    assert picks == pick(logits, [Sampling(1.0, seed=9)], positions)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.0, top_k=3, top_p=0.9)])
def test_bad_numbers_are_told(bad: float, sampling: Sampling) -> None:
    logits = torch.zeros(2, 2, 9)
    logits[0, 1, 4] = bad
    logits[1, 0, 4] = float("-inf")  # a token that is ruled out is no harm

    assert pick(logits, [sampling] * 2, torch.zeros(2, 2, dtype=torch.long)).is_finite == [[True, False], [True, True]]


@pytest.mark.parametrize("bias", [float("nan"), float("inf"), float("-inf"), 100.1, -1e300])
def test_a_bias_beyond_all_bounds_is_refused(bias: float) -> None:
    with pytest.raises(BadRequest, match=r"logit_bias must lie in \[-100, 100\]") as refusal:
        Sampling(logit_bias=((3, 100.0), (4, -100.0), (5, bias)))

    assert refusal.value.parameter == "logit_bias"
