"""The one-pass score orders skip sets as decoding for real does."""

from collections.abc import Sequence
from random import Random

import numpy as np
from numpy.typing import NDArray

from engine.request import Request, Sampling
from engine.search.costs import DeviceCosts, Load
from engine.search.meter import Meter
from engine.search.objective import Objective
from engine.search.reference import Reference, References
from engine.search.simulate import Reach, simulate_all
from engine.search.steps import drain
from engine.search.table import Table
from engine.search.trial import Source
from engine.search.units import singles, union
from engine.skipset import SkipSet
from tests.tools.graded import cache_of, decode_together, graded
from tests.tools.networks import VOCABULARY

LAYERS = 25  # one sub-layer is 2 % of them
DRAFTS, TOKENS = 3, 8
COSTS = DeviceCosts(LAYERS, 0.4 / LAYERS, 0.5 / LAYERS, 0.1, ((1, 1.0), (4, 1.2)))
REQUESTS = [
    Request(
        str(i),
        tuple((i * 7 + step * (i + 2)) % VOCABULARY for step in range(8)),
        TOKENS,
        Sampling(0.6 * (i % 2), seed=i),
    )
    for i in range(4)
]
SIZES = (1, 2, 3, 5, 8, 11, 14, 17, 20)  # up to 40 %
SHARES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)  # of the sub-layers beyond the least harmful that a set may be drawn from


def test_ranks() -> None:
    """At a fixed length, so that only the set differs; acceptance is that of the whole text's first drafts."""
    network = graded(LAYERS)
    meter = Meter(network.device)
    references = References(network, cache_of(network, len(REQUESTS), 64), range(len(REQUESTS)), frozenset(), meter)
    objective = Objective(network, references, Load.of(COSTS), DRAFTS, meter)
    written = drain(references.write(REQUESTS))
    guessed, real, skipped, accepted = [], [], [], []
    for skip_set in _sets(objective, written):
        trial = drain(objective.score(skip_set, Source.SAMPLER, written))
        if not 0.3 <= trial.acceptance <= 0.99:
            continue
        tables = [Table.of_first(drafts, DRAFTS, TOKENS) for drafts in objective.drafts(skip_set)]
        guessed.append(COSTS.speed(simulate_all(tables, Reach(DRAFTS)), skip_set))
        real.append(COSTS.speed(decode_together(network, skip_set, REQUESTS, DRAFTS), skip_set))
        skipped.append(len(skip_set) / (2 * LAYERS))
        accepted.append(trial.acceptance)

    assert len(real) >= 40
    assert min(np.histogram(skipped, (0.02, 0.1, 0.25, 0.401))[0]) >= 10  # in every stratum
    assert min(np.histogram(accepted, (0.3, 0.6, 0.85, 0.99))[0]) >= 8
    assert spearman(np.array(guessed), np.array(real)) >= 0.95


def _sets(objective: Objective, written: Sequence[Reference]) -> list[SkipSet]:
    """Sets of every size, drawn from the least harmful sub-layers, from some more of them, from all."""
    dice = Random(0)
    losses = {one: drain(objective.score(one, Source.LEAVE_ONE_OUT, written[:1])).loss for one in singles(LAYERS)}
    ranked = sorted(losses, key=losses.__getitem__)
    drawn = [
        union(dice.sample(ranked[: size + round(share * (2 * LAYERS - size))], size))
        for size in SIZES
        for share in SHARES
    ]
    return list(dict.fromkeys(drawn))


def spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Correlation of ranks, equals sharing theirs."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    below = (values[:, None] > values).sum(1)
    equal = (values[:, None] == values).sum(1)
    return np.asarray(below + equal / 2)
