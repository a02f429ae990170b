"""The one-pass score orders skip sets as decoding for real does."""

from random import Random

import numpy as np
from numpy.typing import NDArray

from engine.request import Request, Sampling
from engine.search.costs import DeviceCosts, Load
from engine.search.meter import Meter
from engine.search.objective import Objective
from engine.search.reference import References
from engine.search.simulate import Counts, Reach, simulate_all
from engine.search.steps import drain
from engine.search.table import Table
from engine.search.trial import Source
from engine.search.units import singles, union
from engine.skipset import SkipSet
from tests.tools.graded import cache_of, decode_for_real, graded
from tests.tools.networks import VOCABULARY

LAYERS = 8
DRAFTS = 3
COSTS = DeviceCosts(LAYERS, 0.4 / LAYERS, 0.5 / LAYERS, 0.1, ((1, 1.0), (4, 1.2)))
REQUESTS = [
    Request(str(i), tuple((i * 7 + step * (i + 2)) % VOCABULARY for step in range(8)), 24, Sampling(0.6 * i, seed=i))
    for i in range(2)
]


def test_ranks() -> None:
    """Sets over 2 to 40 % skipped and acceptance 0.3 to 0.99; a fixed length, so that only the set differs."""
    network = graded(LAYERS)
    meter = Meter(network.device)
    references = References(network, cache_of(network, 2), [0, 1], frozenset(), meter)
    objective = Objective(network, references, Load.of(COSTS), DRAFTS, meter)
    written = drain(references.write(REQUESTS))
    guessed, real, skipped = [], [], []
    for skip_set in _sets(objective, written):
        trial = drain(objective.score(skip_set, Source.SAMPLER, written))
        if not 0.3 <= trial.acceptance <= 0.99:
            continue
        tables = [
            Table.of_first(drafts, DRAFTS, request.max_tokens)
            for drafts, request in zip(objective.drafts(skip_set), REQUESTS, strict=True)
        ]
        guessed.append(COSTS.speed(simulate_all(tables, Reach(DRAFTS)), skip_set))
        counts = Counts()
        for request in REQUESTS:
            counts.add(decode_for_real(network, skip_set, request, Reach(DRAFTS)))
        real.append(COSTS.speed(counts, skip_set))
        skipped.append(len(skip_set) / (2 * LAYERS))

    assert len(real) >= 40
    assert min(skipped) <= 0.07 and max(skipped) >= 0.4
    assert spearman(np.array(guessed), np.array(real)) >= 0.95


def _sets(objective: Objective, written: list) -> list[SkipSet]:  # type: ignore[type-arg]
    """Nine sets of each size up to 44 %, drawn from the sub-layers that do least harm to all of them."""
    dice = Random(0)
    losses = {one: drain(objective.score(one, Source.LEAVE_ONE_OUT, written)).loss for one in singles(LAYERS)}
    ranked = sorted(losses, key=losses.__getitem__)
    drawn = [
        union(dice.sample(ranked[: dice.randint(size, 2 * LAYERS)], size)) for size in range(1, 8) for _ in range(9)
    ]
    return list(dict.fromkeys(drawn))


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Correlation of ranks, equals sharing theirs."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    below = (values[:, None] > values).sum(1)
    equal = (values[:, None] == values).sum(1)
    return np.asarray(below + equal / 2)
