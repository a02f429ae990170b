"""Memory that runs out in a pass: the batch lives, the row waits or fails alone, and every text is right."""

import copy
from typing import Any

import pytest
import torch

from engine.loop import Engine, Options
from engine.request import Drafter, Request
from engine.shortage import is_shortage
from tests.tools.decoding import expected, run
from tests.tools.networks import tiny

REQUESTS = [Request(str(number), tuple(range(number, number + 20)), 12) for number in range(4)]


def cramped(tokens: int) -> Any:
    """A network whose passes fail, as torch's own allocator makes them, beyond so many tokens."""
    network = copy.deepcopy(tiny(2))

    def allocate(_: object, args: object, kwargs: dict[str, Any]) -> None:
        if kwargs["input_ids"].numel() > tokens:
            torch.empty(1 << 60)  # more than any machine has

    network.model.register_forward_pre_hook(allocate, with_kwargs=True)
    return network


@pytest.mark.parametrize("tokens", [1, 2, 3, 7, 50])
def test_everything_gets_done_in_what_memory_there_is(tokens: int) -> None:
    engine = Engine(cramped(tokens), Options(rows=5, length=64, prefill_tokens=64))

    outcome = run(engine, REQUESTS)

    assert outcome.tokens == expected(tiny(2), REQUESTS)
    assert not outcome.failed


def test_a_row_for_which_there_is_never_enough_fails_alone() -> None:
    """A reproducible row needs passes of one fixed size; its mates do not."""
    engine = Engine(cramped(10), Options(rows=4, length=64, prefill_tokens=64))
    big = Request("big", tuple(range(20)), 5, reproducible=True)

    outcome = run(engine, [big, *REQUESTS])

    assert {one: failed.code for one, failed in outcome.failed.items()} == {"big": "out_of_memory"}
    assert outcome.tokens == expected(tiny(2), REQUESTS)


def test_drafts_are_given_up_first() -> None:
    request = Request("row", (1, 2, 3) * 5, 20, drafter=Drafter.LOOKUP)
    engine = Engine(cramped(3), Options(rows=1, length=64))

    outcome = run(engine, [request])

    assert outcome.tokens == expected(tiny(2), [request])


def test_other_faults_are_not_taken_for_it() -> None:
    assert not is_shortage(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_shortage(ValueError("memory"))
    assert is_shortage(torch.OutOfMemoryError("CUDA out of memory"))
