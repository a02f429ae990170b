"""Bulk rows make way for interactive ones, change no text by it, and are never starved."""

from collections.abc import Callable, Iterator

import pytest

from engine.loop import Engine, Options
from engine.request import Admitted, Event, Finished, Progress, Request
from tests.tools.decoding import Outcome, expected
from tests.tools.networks import tiny

NETWORK = tiny(3)


def bulk(identity: str, size: int = 12, max_tokens: int = 20) -> Request:
    prompt = tuple((3 * step + len(identity)) % 61 for step in range(size))
    return Request(identity, prompt, max_tokens, stream=True)


def urgent(identity: str, size: int = 5, max_tokens: int = 6) -> Request:
    prompt = tuple((7 * step + 5 * sum(identity.encode())) % 61 for step in range(size))  # no two begin alike
    return Request(identity, prompt, max_tokens, interactive=True, stream=True)


def told(events: list[Event]) -> list[str]:
    """Whose text grew."""
    return [event.id for event in events if isinstance(event, Progress)]


def loaded() -> Engine:
    """An engine in the middle of two bulk texts."""
    engine = Engine(NETWORK, Options(rows=4, length=200, width=1))
    for identity in ("a", "bb"):
        engine.submit(bulk(identity))
    while len(told(engine.step())) < 2:
        pass
    return engine


def calls(answers: Iterator[bool]) -> Callable[[], bool]:
    return lambda: next(answers, False)


def test_a_round_is_left_for_whom_it_is_wanted() -> None:
    engine = loaded()
    engine.urgency.is_wanted = calls(iter([False, True]))  # at the second layer

    left = engine.step()
    engine.submit(urgent("now"))
    first = engine.step()

    assert left == []
    assert (Admitted("now") in first, told(first)) == (True, ["now"])


def test_the_first_token_comes_without_bulk_rows_and_the_second_with_them() -> None:
    engine = loaded()
    engine.submit(urgent("now"))

    first, second = engine.step(), engine.step()

    assert told(first) == ["now"]
    assert sorted(told(second)) == ["a", "bb", "now"]


def test_interactive_rows_make_no_way_for_each_other() -> None:
    engine = Engine(NETWORK, Options(rows=4, length=200, width=1))
    engine.submit(urgent("early"))
    engine.step()
    engine.submit(urgent("late"))

    assert sorted(told(engine.step())) == ["early", "late"]


@pytest.mark.parametrize("size", [5, 60])
def test_whoever_is_wanted_all_the_time_changes_no_text(size: int) -> None:
    requests = [bulk("a", 40), bulk("bb"), bulk("ccc"), urgent("now", size), urgent("later", size, 1)]
    engine, outcome = Engine(NETWORK, Options(rows=4, length=200, prefill_tokens=16)), Outcome()
    engine.urgency.is_wanted = lambda: True
    for request in requests[:3]:
        engine.submit(request)
    for step in range(400):
        if step in (5, 9):
            engine.submit(requests[3 if step == 5 else 4])
        outcome.take(engine.step())
        if engine.is_idle and step > 9:
            break

    assert engine.is_idle
    assert outcome.tokens == expected(NETWORK, requests)


def test_bulk_goes_on_however_many_interactive_requests_come() -> None:
    """Each wants one token, so that none has a second round for bulk rows to join; there are always two."""
    engine = loaded()
    engine.urgency.is_wanted = lambda: True
    ended: set[str] = set()
    for number in range(200):
        while engine.num_rows + engine.num_waiting - len({"a", "bb"} - ended) < 2:
            engine.submit(urgent(f"now {number} {engine.num_waiting}", max_tokens=1))
        ended |= {event.id for event in engine.step() if isinstance(event, Finished)}
        if {"a", "bb"} <= ended:
            return
    raise AssertionError("bulk rows never ended")


def test_a_bulk_prompt_is_read_however_many_interactive_prompts_are() -> None:
    engine = Engine(NETWORK, Options(rows=4, length=200, prefill_tokens=16, width=1))
    engine.submit(bulk("a", 40, 1))
    for number in range(100):
        while engine.num_waiting + engine.num_rows < 4:
            engine.submit(urgent(f"now {number} {engine.num_waiting}", 150, 1))
        if any(isinstance(event, Finished) and event.id == "a" for event in engine.step()):
            return
    raise AssertionError("the bulk prompt was never read")


def test_who_comes_alone_never_waits_for_a_bulk_prompt_that_was_read_meanwhile() -> None:
    engine = Engine(NETWORK, Options(rows=4, length=400, prefill_tokens=16, width=1))
    engine.submit(bulk("a", 350, 1))
    for number in range(16):
        engine.step()  # a chunk of the bulk prompt
        engine.submit(urgent(f"now {number}", max_tokens=1))

        assert told(engine.step()) == [f"now {number}"]
