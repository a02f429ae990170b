"""Cutting a text into parts of about equal length, at paragraphs where possible, then sentences, then words."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise

# What ends at a match, best last.
_BORDERS = (
    re.compile(r"\s+"),
    re.compile(r"(?<=[.!?…])[\"')\]»”]*\s+|(?<=。)"),
    re.compile(r"\n\s*\n"),
)
_SLACK = 0.1  # of a part's length: how far a cut may move to a better border


def split(text: str, starts: Sequence[int], num_parts: int) -> list[str]:
    """Cut `text` into at most `num_parts` parts that together say all of it (white space at the cuts aside).

    `starts` are the characters at which its tokens begin. A part has 0.8 to 1.2 times the even share of tokens.
    """
    borders = [list(_borders(pattern, text, starts)) for pattern in reversed(_BORDERS)]
    share = len(starts) / num_parts
    cuts = [_cut(borders, number * share, _SLACK * share, starts) for number in range(1, num_parts)]
    bounds = [0, *sorted(cuts), len(text)]
    parts = (text[first:last].strip() for first, last in pairwise(bounds))
    return [part for part in parts if part]


def _borders(pattern: re.Pattern[str], text: str, starts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(token index, character) after each match."""
    for match in pattern.finditer(text):
        yield bisect_left(starts, match.end()), match.end()


def _cut(borders: Sequence[Sequence[tuple[int, int]]], ideal: float, slack: float, starts: Sequence[int]) -> int:
    """The character to cut at: the nearest border of the best kind within reach, else the token itself."""
    for kind in borders:
        near = kind[bisect_left(kind, (ideal - slack, 0)) : bisect_left(kind, (ideal + slack, 0))]
        if near:
            return min(near, key=lambda border: abs(border[0] - ideal))[1]
    return starts[min(round(ideal), len(starts) - 1)]
