"""The keyed noise: a known generator, uniform and independent over seeds, positions and tokens."""

from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.noise import gumbel
from engine.seeds import derive
from tests.tools.chance import fits

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1
SIDE = 16  # bins of one variable in the tests of independence


def mixed(word: int) -> int:
    """SplitMix64's output function (Steele, Lea, Flood 2014) on an unsigned word."""
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    return word ^ (word >> 31)


def uniforms(seeds: list[int], positions: list[int], tokens: int) -> NDArray[np.float64]:
    """The uniform numbers behind the noise, [rows, tokens]."""
    noise = gumbel(torch.tensor(seeds), torch.tensor(positions), torch.arange(tokens)).numpy()
    return np.asarray(-np.expm1(-np.exp(-noise)))


def pairs_fit(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    """Whether two series look independent and uniform together."""
    cells = (first * SIDE).astype(int) * SIDE + (second * SIDE).astype(int)
    return fits(np.bincount(cells.ravel(), minlength=SIDE**2), np.full(SIDE**2, 1 / SIDE**2))


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1, 0x123456789ABCDEF])
@pytest.mark.parametrize("position", [0, 1, 5, 131_071])
def test_the_generator(seed: int, position: int) -> None:
    """Against the same arithmetic on Python's unbounded integers."""
    tokens = [0, 1, 2, 49_151]
    stream = mixed(mixed((seed + GOLDEN) & MASK) + (position + 1) * GOLDEN & MASK)
    words = [mixed(stream + (token + 1) * GOLDEN & MASK) >> 32 for token in tokens]
    wanted = [-np.log(-np.log1p(-(word + 0.5) * 2.0**-32)) for word in words]

    noise = gumbel(torch.tensor([seed]), torch.tensor([position]), torch.tensor(tokens))

    assert noise.dtype == torch.float64
    assert noise[0].tolist() == pytest.approx(wanted, rel=1e-14, abs=0)


def test_tokens_may_differ_by_row() -> None:
    seeds, positions = torch.tensor([3, 4]), torch.tensor([7, 8])
    whole = gumbel(seeds, positions, torch.arange(50))

    some = gumbel(seeds, positions, torch.tensor([[1, 40], [2, 3]]))

    assert some.tolist() == [[whole[0, 1], whole[0, 40]], [whole[1, 2], whole[1, 3]]]


@pytest.mark.parametrize("vary", ["seed", "derived seed", "position", "token"])
def test_uniform(vary: str) -> None:
    many = 100_000
    seeds = {"seed": list(range(many)), "derived seed": [derive(1, item) for item in range(many)]}.get(vary, [5])
    positions = list(range(many)) if vary == "position" else [17]
    rows = max(len(seeds), len(positions))

    drawn = uniforms(seeds * (rows // len(seeds)), positions * (rows // len(positions)), many if vary == "token" else 1)

    assert fits(np.bincount((drawn.ravel() * 256).astype(int), minlength=256), np.full(256, 1 / 256))


@pytest.mark.parametrize(
    ("seed_step", "position_step", "token_step"), [steps for steps in product((0, 1), (0, 1), (-1, 0, 1)) if any(steps)]
)
def test_neighbours_are_independent(seed_step: int, position_step: int, token_step: int) -> None:
    grid = [(seed, position) for seed in range(20) for position in range(100)]
    here = uniforms([seed for seed, _ in grid], [position for _, position in grid], 100)
    there = uniforms([seed + seed_step for seed, _ in grid], [position + position_step for _, position in grid], 100)
    first = here[:, max(0, -token_step) : 100 - max(0, token_step)]
    second = there[:, max(0, token_step) : 100 - max(0, -token_step)]

    assert pairs_fit(first, second)
    assert not (first == second).any()
