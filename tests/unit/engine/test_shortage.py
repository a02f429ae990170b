"""Memory that runs out in a pass: the batch lives, the row waits or fails alone, and every text is right."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from engine.logprobs import logprobs_of
from engine.loop import Engine, Options
from engine.request import Drafter, Request
from engine.shortage import is_shortage
from tests.tools.decoding import expected, run
from tests.tools.networks import tiny

REQUESTS = [Request(str(number), tuple(range(number, number + 20)), 12) for number in range(4)]


def cramped(limit: list[int]) -> Any:
    """A network whose passes fail, as torch's own allocator makes them, beyond so many tokens: ``limit`` holds it."""
    network = copy.deepcopy(tiny(2))

    def allocate(_: object, args: object, kwargs: dict[str, Any]) -> None:
        if kwargs["input_ids"].numel() > limit[0]:
            torch.empty(1 << 60)  # more than any machine has

    network.model.register_forward_pre_hook(allocate, with_kwargs=True)
    return network


@pytest.mark.parametrize("tokens", [1, 2, 3, 7, 50])
def test_everything_gets_done_in_what_memory_there_is(tokens: int) -> None:
    engine = Engine(cramped([tokens]), Options(rows=5, length=64, prefill_tokens=64))

    outcome = run(engine, REQUESTS)

    assert outcome.tokens == expected(tiny(2), REQUESTS)
    assert not outcome.failed


def test_a_row_for_which_there_is_never_enough_fails_alone() -> None:
    """A reproducible row needs passes of one fixed size; its mates do not."""
    engine = Engine(cramped([10]), Options(rows=4, length=64, prefill_tokens=64))
    big = Request("big", tuple(range(20)), 5, reproducible=True)

    outcome = run(engine, [big, *REQUESTS])

    assert {one: failed.code for one, failed in outcome.failed.items()} == {"big": "out_of_memory"}
    assert outcome.tokens == expected(tiny(2), REQUESTS)


def test_drafts_are_given_up_first() -> None:
    request = Request("row", (1, 2, 3) * 5, 20, drafter=Drafter.LOOKUP)
    engine = Engine(cramped([3]), Options(rows=1, length=64))

    outcome = run(engine, [request])

    assert outcome.tokens == expected(tiny(2), [request])


def test_other_faults_are_not_taken_for_it() -> None:
    assert not is_shortage(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_shortage(ValueError("memory"))
    assert is_shortage(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_shortage(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))


def test_what_gave_way_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.relief._CALM", 3)
    limit = [1]
    engine = Engine(cramped(limit), Options(rows=5, length=64, prefill_tokens=32))
    sizes: list[int] = []
    engine.on_round = lambda record: sizes.append(record.batch * record.width)
    requests = [replace(request, drafter=Drafter.LOOKUP) for request in REQUESTS]

    before = run(engine, requests)
    most_before, limit[0] = max(sizes), 1_000
    run(engine, [replace(request, id=f"calm {request.id}", max_tokens=40) for request in requests])
    sizes.clear()
    after = run(engine, requests)

    assert before.tokens == after.tokens == expected(tiny(2), REQUESTS)
    assert (most_before, max(sizes) > len(REQUESTS)) == (1, True)


def test_others_are_asked_before_a_prompt_is_cut() -> None:
    limit, asked = [10], []
    network = cramped(limit)
    engine = Engine(network, Options(rows=2, length=64, prefill_tokens=32))
    seen: list[int] = []
    network.model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )

    def free() -> bool:
        asked.append(limit[0])
        limit[0] = 1_000
        return True

    engine.relief.on_shortage = free
    outcome = run(engine, REQUESTS[:1])

    assert outcome.tokens == expected(tiny(2), REQUESTS[:1])
    assert (asked, seen[0]) == ([10], 19)


def test_a_reproducible_row_whose_passes_do_not_fit_fails_and_its_mates_go_on() -> None:
    engine = Engine(cramped([16]), Options(rows=4, length=64, prefill_tokens=8))  # verifies are of 4 times 6 tokens
    fixed = replace(REQUESTS[0], id="fixed", reproducible=True)

    outcome = run(engine, [fixed, *REQUESTS])

    assert {one: failed.code for one, failed in outcome.failed.items()} == {"fixed": "out_of_memory"}
    assert outcome.tokens == expected(tiny(2), REQUESTS)


def test_log_probabilities_that_do_not_fit_shrink_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are computed within the round that is abandoned, so nothing of it is taken."""
    failures = iter([True])

    def scarce(*given: Any) -> Any:
        if next(failures, False):
            torch.empty(1 << 60)
        return logprobs_of(*given)

    monkeypatch.setattr("engine.loop.logprobs_of", scarce)
    requests = [replace(request, logprobs=2) for request in REQUESTS]

    outcome = run(Engine(tiny(2), Options(rows=5, length=64)), requests)

    assert outcome.tokens == expected(tiny(2), requests)
    assert all(len(event.logprobs or ()) == len(event.tokens) for event in outcome.finished.values())
