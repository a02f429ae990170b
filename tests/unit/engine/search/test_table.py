"""The table and the simulation against the engine's own drafting and verifying: the same rounds and accepted drafts."""

import pytest
from transformers import PreTrainedModel

from engine.attention import adopt
from engine.request import Request, Sampling
from engine.search.meter import Meter
from engine.search.reference import Reference, References
from engine.search.simulate import Counts, Exit, simulate, simulate_all
from engine.search.steps import drain
from engine.search.table import Table, exact_table
from engine.skipset import SkipSet
from engine.view import draft_view
from tests.tools.graded import cache_of, decode_for_real, graded
from tests.tools.networks import VOCABULARY
from tests.unit.engine.test_families import network_of

DEPTH = 5
SAMPLINGS = {
    "greedy": Sampling(),
    "warm": Sampling(0.8, seed=3),
    "truncated": Sampling(1.3, top_k=9, top_p=0.9, seed=4),
    "penalised": Sampling(0.7, seed=5, repetition_penalty=1.3, frequency_penalty=0.2, min_tokens=4),
}
SETS = (SkipSet.of([2], [5]), SkipSet.of([1, 2, 6], [0, 3]), SkipSet.of(range(8), range(8)))


def request_of(number: int, sampling: Sampling, tokens: int = 60) -> Request:
    prompt = tuple((number * 7 + step * (number + 2)) % VOCABULARY for step in range(1 + 9 * number))
    return Request(str(number), prompt, tokens, sampling)


def table_of(network: PreTrainedModel, skip_set: SkipSet, request: Request) -> Table:
    cache = cache_of(network)
    references = References(network, cache, [1], frozenset(), Meter(network.device))
    reference = drain(references.write(request))
    slot = drain(references.fetch(reference))
    return drain(exact_table(draft_view(network, skip_set), cache, slot, reference, DEPTH))


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
@pytest.mark.parametrize("most", [1, 3, 5])
def test_fixed_lengths_are_exact(most: int, sampling: Sampling) -> None:
    network = graded()
    for number, skip_set in enumerate(SETS):
        request = request_of(number, sampling)
        assert simulate(table_of(network, skip_set, request), Exit(most)) == decode_for_real(
            network, skip_set, request, Exit(most)
        )
