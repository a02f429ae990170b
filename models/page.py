"""A page of a list: cursors are ids, so a page costs the same wherever it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows in order, and whether more follow the last of them."""

    data: tuple[T, ...]
    has_more: bool


def page_of(rows: Sequence[T], limit: int) -> Page[T]:
    """A page of at most `limit` from rows that were read with one more than that."""
    return Page(tuple(rows[:limit]), has_more=len(rows) > limit)
