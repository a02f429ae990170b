"""The near-tie rule itself: it must let rounding pass and nothing else."""

import numpy as np
import pytest
import torch

from bench.ties import Reference, is_near_tie, noise_between, refer
from engine.noise import gumbel
from engine.oracle import decode
from engine.request import Request, Sampling
from tests.tools.comparison import Comparison
from tests.tools.networks import tiny

NOISE = 1e-4
CLOSE, FAR = 3e-4, 5e-4  # within and beyond four times the noise


def tied(sampling: Sampling, gap: float, position: int = 9) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Logits of five tokens whose scores, noise added, are 5, 5 - gap, 3, 2, 1."""
    scores = np.array([5.0, 5.0 - gap, 3.0, 2.0, 1.0])
    if sampling.is_greedy:
        return scores
    noise = gumbel(torch.tensor([sampling.seed]), torch.tensor([position]), torch.arange(5))[0].numpy()
    return np.asarray((scores - noise) * sampling.temperature)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.0, seed=3)])
@pytest.mark.parametrize(("gap", "is_near"), [(0.0, True), (CLOSE, True), (FAR, False)])
def test_gap_of_the_top_two(sampling: Sampling, gap: float, is_near: bool) -> None:
    assert is_near_tie(tied(sampling, gap), sampling, 9, (0, 1), NOISE) is is_near


def test_heat_shrinks_the_noise() -> None:
    hot = Sampling(2.0, seed=3)

    assert not is_near_tie(tied(hot, CLOSE), hot, 9, (0, 1), NOISE)


def test_a_third_token_is_no_rival() -> None:
    assert not is_near_tie(np.array([5.0, 5.0, 5.0 - CLOSE]), Sampling(), 9, (0, 2), NOISE)


@pytest.mark.parametrize(("gap", "is_near"), [(CLOSE, True), (FAR, False)])
def test_cut_off_of_top_k(gap: float, is_near: bool) -> None:
    """The noise lifts token 2 above all, but it is the third: whether two or three stay decides."""
    sampling, position = Sampling(1.0, top_k=2, seed=0), 1
    noise = gumbel(torch.tensor([0]), torch.tensor([position]), torch.arange(61))[0].numpy()
    lifted = int(noise.argmax())
    others = [token for token in range(61) if token != lifted][:2]
    logits = np.full(61, -50.0)
    logits[others] = 1.0, 0.5
    logits[lifted] = 0.5 - gap
    best = max(others, key=lambda token: logits[token] + noise[token])

    assert is_near_tie(logits, sampling, position, (best, lifted), NOISE) is is_near


@pytest.mark.parametrize(("above", "is_near"), [(1e-5, True), (0.01, False)])
def test_cut_off_of_top_p(above: float, is_near: bool) -> None:
    position = 1
    noise = gumbel(torch.tensor([0]), torch.tensor([position]), torch.arange(3))[0].numpy()
    lifted = int(noise.argmax())
    order = [token for token in range(3) if token != lifted]
    logits = np.empty(3)
    logits[order] = np.log([0.4, 0.35])
    logits[lifted] = np.log(0.25)
    best = max(order, key=lambda token: logits[token] + noise[token])
    sampling = Sampling(1.0, top_p=0.75 - above, seed=0)

    assert is_near_tie(logits, sampling, position, (best, lifted), NOISE) is is_near


def test_reference_and_noise_on_a_network() -> None:
    network = tiny(2, dtype=torch.float32)
    network.set_attn_implementation("sdpa")
    request = Request("row", (1, 2, 3, 4), 12, Sampling(1.0, seed=5))

    reference = refer(network, request, frozenset())

    assert list(reference.picks) == decode(network, request)
    assert 0.0 < noise_between(network, request, reference) < 1e-3


def test_a_comparison_counts() -> None:
    logits = np.array([[0.0, 5.0, 1.0], [5.0, 5.0 - CLOSE, 0.0], [0.0, 0.0, 9.0]])
    request, reference = Request("row", (1,), 3), Reference((1, 0, 2), logits)
    comparison = Comparison(NOISE)

    comparison.take(request, reference, (1, 0, 2))
    comparison.take(request, reference, (1, 1, 0))

    assert (comparison.tokens, comparison.near_ties) == (5, {("row", 1)})
    with pytest.raises(AssertionError, match="without a near tie"):
        comparison.take(request, reference, (1, 0, 1))
    with pytest.raises(AssertionError, match="2 tokens"):
        comparison.take(request, reference, (1, 0))
    comparison.check()
    comparison.near_ties.add(("other", 0))
    with pytest.raises(AssertionError, match="tokens"):
        comparison.check()
