"""The table and the simulation against the engine's own drafting and verifying: the same rounds and accepted drafts."""

import pytest
from transformers import PreTrainedModel

from engine.attention import adopt
from engine.family import FAMILIES
from engine.request import Request, Sampling
from engine.search.meter import Meter
from engine.search.reference import CHUNK, Reference, References
from engine.search.simulate import Counts, Reach, simulate, simulate_all
from engine.search.steps import drain
from engine.search.table import Table, exact_table
from engine.skipset import SkipSet
from engine.view import draft_view
from tests.tools.families import network_of
from tests.tools.graded import cache_of, decode_for_real, graded
from tests.tools.networks import VOCABULARY

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


def table_of(network: PreTrainedModel, skip_set: SkipSet, request: Request, chunk: int = CHUNK) -> Table:
    cache = cache_of(network)
    references = References(network, cache, [1, 2], frozenset(), Meter(network.device))
    (reference,) = drain(references.write([request]))
    slot = drain(references.fetch(reference))
    return drain(exact_table(draft_view(network, skip_set), cache, slot, reference, DEPTH, chunk=chunk))


@pytest.mark.parametrize(("number", "chunk"), [(0, CHUNK), (1, 16), (2, 3)])  # in one pass, in several, in blocks
@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_fixed_lengths_are_exact(sampling: Sampling, number: int, chunk: int) -> None:
    network, skip_set, request = graded(), SETS[number], request_of(number, sampling)
    table = table_of(network, skip_set, request, chunk)
    for most in (1, 3, 5):
        assert simulate(table, Reach(most)) == decode_for_real(network, skip_set, request, Reach(most))


def test_thresholds_are_nearly_exact() -> None:
    """After a first wrong draft a real one goes on from its own token, which the table does not know."""
    network, skip_set = graded(), SETS[0]
    for threshold in (0.3, 0.6):
        reach, guessed, real = Reach(DEPTH, threshold), Counts(), Counts()
        for number in range(4):
            request = request_of(number, Sampling(0.8 * (number % 2), seed=number))
            guessed.add(simulate(table_of(network, skip_set, request), reach))
            real.add(decode_for_real(network, skip_set, request, reach))
        assert 0 < real.accepted < real.drafted < DEPTH * real.rounds
        for one, other in ((guessed.rounds, real.rounds), (guessed.accepted, real.accepted)):
            assert one == pytest.approx(other, abs=1, rel=0.02)
        assert guessed.drafted == pytest.approx(real.drafted, rel=0.06)


@pytest.mark.parametrize("kind", sorted(set(FAMILIES) - {"bloom", "mpt"}))
def test_every_family(kind: str) -> None:
    """Windows, softcaps, learned and rotary positions: visibility follows positions though columns differ."""
    network, skip_set = network_of(kind), SkipSet.of([1, 2], [2])
    adopt(network)
    request = Request("", tuple(range(11, 25)), 20, Sampling(0.9, seed=2))
    table = table_of(network, skip_set, request, chunk=7)

    assert simulate(table, Reach(3)) == decode_for_real(network, skip_set, request, Reach(3))


def test_references_are_written_again_where_slots_are_few() -> None:
    network, skip_set = graded(), SETS[0]
    requests = [request_of(number, Sampling(), 24) for number in range(4)]
    tables = []
    for slots in ([0], [0, 1, 2, 3], [1, 3]):
        references = References(network, cache_of(network), slots, frozenset(), Meter(network.device))
        written: list[Reference] = drain(references.write(requests))
        view = draft_view(network, skip_set)
        for reference in reversed(written):
            slot = drain(references.fetch(reference))
            tables.append(drain(exact_table(view, references.cache, slot, reference, 3)))
    counts = [simulate_all(tables[i : i + 4], Reach(3)) for i in (0, 4, 8)]

    assert counts[0] == counts[1] == counts[2]
