"""Work in small units: a generator that yields after every pass, so that a worker can decode rows in between."""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]  # each yield is a place to stop; the return value is what the work came to


def drain(steps: Steps[T]) -> T:
    """Do all of it at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
