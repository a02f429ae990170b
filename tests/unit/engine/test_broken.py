"""Non-finite numbers: the row that made them fails, nobody else, and its slot's next tenant is served.

A NaN under a masked column still spreads (zero times NaN is NaN), so what a broken row wrote must not stay behind.
"""

import copy

import pytest
import torch
from transformers import LlamaForCausalLM

from engine.loop import Engine, Options
from engine.request import Drafter, Request, Sampling
from engine.skipset import SkipSet
from tests.tools.decoding import Outcome, expected, guess_with, run
from tests.tools.networks import tiny

POISON = 60


@pytest.fixture(scope="module")
def poisoned() -> LlamaForCausalLM:
    """A network that gives NaN as soon as it reads one certain token, which it is most unlikely to write itself."""
    network = copy.deepcopy(tiny(2))
    with torch.no_grad():
        network.lm_head.weight[POISON] = 0
        network.model.embed_tokens.weight[POISON] = float("nan")
    return network


def engine_of(network: LlamaForCausalLM, rows: int, prefill_tokens: int = 64) -> Engine:
    return Engine(network, Options(rows=rows, length=80, prefill_tokens=prefill_tokens))


def innocent(identity: str, start: int, size: int, *, max_tokens: int = 12, interactive: bool = False) -> Request:
    prompt = tuple((start + 3 * step) % POISON for step in range(size))
    return Request(identity, prompt, max_tokens, Sampling(0.8, top_k=5, seed=start), interactive=interactive)


def poison(identity: str, size: int, *, at: int = 0) -> Request:
    prompt = [(5 * step) % POISON for step in range(size)]
    prompt[at] = POISON
    return Request(identity, tuple(prompt), 12)


@pytest.mark.parametrize(("size", "at"), [(1, 0), (20, 0), (20, 10), (20, 19)])
def test_mates_do_not_notice(poisoned: LlamaForCausalLM, size: int, at: int) -> None:
    mates = [innocent("a", 1, 15), innocent("b", 2, 30), innocent("c", 3, 1)]

    outcome = run(engine_of(poisoned, 5), [mates[0], poison("bad", size, at=at), *mates[1:]])

    assert outcome.tokens == expected(poisoned, mates)
    assert {one: event.code for one, event in outcome.failed.items()} == {"bad": "non_finite_logits"}


def test_several_break_in_one_round(poisoned: LlamaForCausalLM) -> None:
    """The mate is long, so passes read the slots' columns beyond their next tenants' own."""
    mate = innocent("mate", 1, 40, max_tokens=30)
    bad = [poison(f"bad{number}", 18, at=number) for number in range(3)]
    later = [innocent(f"later{number}", number, 2) for number in range(4)]

    outcome = run(engine_of(poisoned, 6), [mate, *bad, *later], arrivals={request.id: 4 for request in later})

    assert outcome.tokens == expected(poisoned, [mate, *later])
    assert outcome.failed.keys() == {request.id for request in bad}


def test_the_slot_of_a_cancelled_broken_row_is_clean(poisoned: LlamaForCausalLM) -> None:
    engine = engine_of(poisoned, 3, prefill_tokens=16)
    mate, later = innocent("mate", 1, 40, max_tokens=30), innocent("later", 4, 2)

    outcome = run(
        engine,
        [mate, poison("bad", 60), later],
        arrivals={"bad": 3, "later": 5},
        cancellations={"bad": 5},
    )

    assert not outcome.failed.keys() - {"bad"}
    assert outcome.tokens.items() >= expected(poisoned, [mate, later]).items()


def test_a_broken_row_that_moves_leaves_nothing_behind(poisoned: LlamaForCausalLM) -> None:
    """It moves to a lower slot when a mate ends, and its high slot is let again."""
    engine = engine_of(poisoned, 4, prefill_tokens=16)
    mate = innocent("mate", 1, 40, max_tokens=30, interactive=True)
    short = innocent("short", 1, 1, max_tokens=2, interactive=True)
    later = innocent("later", 9, 2, interactive=True)

    outcome = run(engine, [mate, short, poison("bad", 66), later], arrivals={"short": 3, "bad": 3, "later": 5})

    assert outcome.tokens == expected(poisoned, [mate, short, later])
    assert outcome.failed.keys() == {"bad"}


def test_a_rejected_draft_breaks_nothing(poisoned: LlamaForCausalLM) -> None:
    """A drafter proposes the poison; the full network would never have read it, so the text goes on."""
    request = Request("row", (1, 2, 3), 30, drafter=Drafter.SKIP)
    mate = innocent("mate", 5, 40)
    engine = Engine(poisoned, Options(rows=3, length=80), skip_set=SkipSet.of([0]))
    guess_with(engine, {"row": [POISON] * 30})

    outcome = run(engine, [request, mate])

    assert not outcome.failed
    assert outcome.tokens == expected(poisoned, [request, mate])


def test_a_pass_that_was_left_unfinished_leaves_nothing_behind(poisoned: LlamaForCausalLM) -> None:
    """Its first layer has written what nobody has looked at when an interactive request comes."""
    engine, outcome = engine_of(poisoned, 4), Outcome()
    mate, later = innocent("mate", 1, 40, max_tokens=30, interactive=True), innocent("later", 4, 2)
    engine.submit(mate)
    outcome.take(engine.step())
    engine.submit(poison("bad", 60, at=30))
    answers = iter([False, True])
    engine.urgency.is_wanted = lambda: next(answers, False)
    outcome.take(engine.step())
    assert next(answers, None) is None, "the pass was not left"

    engine.cancel("bad")
    engine.submit(later)
    while not engine.is_idle:
        outcome.take(engine.step())

    assert outcome.tokens == expected(poisoned, [mate, later])
