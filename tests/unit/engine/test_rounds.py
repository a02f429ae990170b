"""What clients see of rounds: admission, parking, cancelling, bounded prefill, and rows that shared a prefix."""

import torch

from engine.loop import Engine, Options
from engine.request import Admitted, Drafter, Finished, FinishReason, Request, Sampling
from engine.skipset import SkipSet
from tests.tools.decoding import Outcome, expected, guess_with, run
from tests.tools.networks import tiny

NETWORK = tiny(3)


def bulk(identity: str, size: int = 12, max_tokens: int = 20) -> Request:
    prompt = tuple((3 * step + len(identity)) % 61 for step in range(size))
    return Request(identity, prompt, max_tokens, Sampling(0.8, seed=hash_of(identity)))


def hash_of(identity: str) -> int:
    return int.from_bytes(identity.encode(), "big")


def urgent(identity: str, size: int = 5) -> Request:
    return Request(identity, tuple(range(size)), 6, interactive=True)


def test_interactive_requests_get_in_at_once_but_for_the_slot_of_bulk_and_the_parked_text_is_the_same() -> None:
    engine = Engine(NETWORK, Options(rows=3, length=64))
    requests = [bulk("a"), bulk("bb"), *(urgent(f"now{number}") for number in range(3))]
    outcome = Outcome()
    for request in requests[:2]:
        engine.submit(request)
    for _ in range(6):
        outcome.take(engine.step())

    for request in requests[2:]:
        engine.submit(request)
    events = engine.step()

    assert [event.id for event in events if isinstance(event, Admitted)] == ["now0", "now1"]
    assert (engine.num_rows, engine.num_waiting) == (3, 2)
    outcome.take(events)
    while not engine.is_idle:
        outcome.take(engine.step())
    assert outcome.tokens == expected(NETWORK, requests)
    assert len(outcome.admitted) == len(requests)  # a parked row is not admitted twice


def test_a_row_alone_has_the_engine_for_itself() -> None:
    engine = Engine(NETWORK, Options(rows=4, length=64))
    suspect = Request("suspect", (1, 2, 3), 8, alone=True)
    requests = [bulk("a"), suspect, bulk("bb"), urgent("now")]
    for request in requests:
        engine.submit(request)
    outcome, is_inside = Outcome(), False

    while not engine.is_idle:
        events = engine.step()
        outcome.take(events)
        is_inside |= Admitted("suspect") in events
        if any(isinstance(event, Finished) and event.id == "suspect" for event in events):
            is_inside = False
        if is_inside:
            assert engine.num_rows == 1

    assert outcome.tokens == expected(NETWORK, requests)


def test_cancelling_keeps_what_is_there() -> None:
    engine = Engine(NETWORK, Options(rows=2, length=64))
    request, waiting = bulk("a"), bulk("bb")
    engine.submit(request)
    engine.submit(waiting)
    for _ in range(5):
        engine.step()

    events = [*engine.cancel("bb"), *engine.cancel("a"), *engine.cancel("a"), *engine.cancel("nobody")]

    assert engine.is_idle
    ends = {event.id: event for event in events if isinstance(event, Finished)}
    assert ends["bb"].tokens == ()
    assert 0 < len(ends["a"].tokens) < request.max_tokens
    assert ends["a"].tokens == expected(NETWORK, [request])["a"][: len(ends["a"].tokens)]
    assert {event.finish_reason for event in ends.values()} == {FinishReason.CANCELLED}
    assert len(events) == 2


def test_a_long_prompt_does_not_hold_up_an_interactive_row() -> None:
    """It is prefilled a little in every round, and in every round the interactive row gets its token."""
    engine = Engine(NETWORK, Options(rows=4, length=200, prefill_tokens=16, width=1))
    engine.submit(urgent("now", size=1))
    engine.step()
    engine.submit(bulk("long", size=150))

    ends = [event.id for _ in range(5) for event in engine.step() if isinstance(event, Finished)]

    assert ends == ["now"]


def test_an_interactive_row_overtakes_a_prompt_that_is_half_prefilled() -> None:
    engine = Engine(NETWORK, Options(rows=4, length=200, prefill_tokens=16))
    requests = [bulk("long", size=150), urgent("now")]

    outcome = run(engine, requests, arrivals={"now": 4})

    assert list(outcome.finished) == ["now", "long"]
    assert outcome.tokens == expected(NETWORK, requests)


def test_texts_with_a_common_prefix() -> None:
    prefix = tuple(range(10, 50))
    requests = [Request(str(end), (*prefix, end), 10) for end in range(6)]

    outcome = run(Engine(NETWORK, Options(rows=4, length=64, prefill_tokens=16)), requests)

    assert outcome.tokens == expected(NETWORK, requests)


def test_engines_of_one_network_do_not_meet() -> None:
    first, second = (Engine(NETWORK, Options(rows=2, length=64)) for _ in range(2))
    requests = [bulk("a"), bulk("bb")]
    first.submit(requests[0])
    second.submit(requests[1])
    outcome = Outcome()

    while not (first.is_idle and second.is_idle):
        outcome.take([*first.step(), *second.step()])

    assert outcome.tokens == expected(NETWORK, requests)


def test_a_measured_engine_decodes_the_same() -> None:
    requests = [bulk("a"), bulk("bb"), urgent("now")]

    outcome = run(Engine(NETWORK, Options(rows=4, length=64), is_measured=True), requests)

    assert outcome.tokens == expected(NETWORK, requests)


def num_passes(engine: Engine, requests: list[Request]) -> int:
    """How many forward passes the full network makes."""
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    hook = NETWORK.model.register_forward_pre_hook(count)
    run(engine, requests)
    hook.remove()
    return passes


def test_nothing_is_computed_twice() -> None:
    """One pass for four prompts of about one length, then one a token."""
    requests = [bulk(identity, max_tokens=20) for identity in ("a", "bb", "ccc", "dddd")]

    assert num_passes(Engine(NETWORK, Options(rows=8, length=64)), requests) == 1 + 20


def test_right_drafts_save_passes() -> None:
    request = Request("row", (1, 2, 3), 20, drafter=Drafter.SKIP)
    engine = Engine(NETWORK, Options(rows=2, length=64, width=5), skip_set=SkipSet.of([0]))
    guess_with(engine, expected(NETWORK, [request]))

    assert num_passes(engine, [request]) == 1 + 20 // 5  # four drafts and one more a pass


def test_a_common_prompt_is_computed_once() -> None:
    """Eight choices of one prompt: it is written by one row and copied by the others, however they arrive."""
    prompt = tuple(range(40))
    sampled = [Sampling(1.0, seed=seed) for seed in range(8)]
    choices = [Request(str(one.seed), prompt, 6, one, drafter=Drafter.PLAIN) for one in sampled]
    written = 0

    def count(_: object, __: object, given: dict[str, torch.Tensor]) -> None:
        nonlocal written
        written += given["input_ids"].numel() if given["input_ids"].shape[1] > 1 else 0

    hook = NETWORK.model.register_forward_pre_hook(count, with_kwargs=True)
    outcome = run(Engine(NETWORK, Options(rows=10, length=64)), choices)
    hook.remove()

    assert outcome.tokens == expected(NETWORK, choices)
    assert written < 1.5 * len(prompt)
