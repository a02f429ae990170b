"""Running arms in turn in one process: warm-up, then A B C, C B A, A B C ..., each timed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from bench.report import Spread

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Turn(Generic[Result]):
    """One run of an arm."""

    seconds: float
    result: Result


def in_turn(arms: Mapping[str, Callable[[], Result]], rounds: int) -> dict[str, list[Turn[Result]]]:
    """Time every arm once a round; the order is reversed every other round, so that a drift hurts all alike."""
    turns: dict[str, list[Turn[Result]]] = {name: [] for name in arms}
    for number in range(rounds):
        for name in list(arms) if number % 2 == 0 else reversed(list(arms)):
            turns[name].append(timed(arms[name]))
    return turns


def timed(work: Callable[[], Result]) -> Turn[Result]:
    """Run once; what the device still has to do belongs to the time."""
    began = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Turn(time.perf_counter() - began, result)


def seconds(turns: Sequence[Turn[Result]]) -> Spread:
    return Spread.of([turn.seconds for turn in turns])


def ratio(turns: Sequence[Turn[Result]], base: Sequence[Turn[Result]]) -> Spread:
    """How many times faster than ``base``, round by round."""
    return Spread.of([b.seconds / a.seconds for a, b in zip(turns, base, strict=True)])
