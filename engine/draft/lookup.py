"""Lookup drafting: continue with what followed the same words before, in the prompt or in the output so far.

Token ids only. (Prompt lookup decoding, Saxena 2023; here an incremental index instead of a scan.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

LONGEST = 6  # tokens of suffix that are matched at most
SHORTEST = 2  # one common token says too little about the next


@dataclass(frozen=True, slots=True)
class Match:
    """An earlier occurrence of the present suffix: the index that ``follows`` it, and how many tokens agree."""

    follows: int
    length: int


class SuffixIndex:
    """Where each run of 2 to 6 tokens last ended. Pushing a token costs a constant; so does finding a match."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}
        for token in tokens:
            self.push(token)

    def push(self, token: int) -> None:
        """Take the next token. The suffix that it ends is entered only now, so a suffix never finds itself."""
        end = len(self._tokens)
        for size in range(SHORTEST, min(LONGEST, end) + 1):
            self._ends[tuple(self._tokens[end - size :])] = end
        self._tokens.append(token)

    def match(self) -> Match | None:
        """The longest earlier occurrence of the present suffix."""
        end = len(self._tokens)
        for size in range(min(LONGEST, end), SHORTEST - 1, -1):
            follows = self._ends.get(tuple(self._tokens[end - size :]))
            if follows is not None:
                return Match(follows, size)
        return None

    def draft(self, most: int) -> list[int]:
        """Up to ``most`` tokens that may come next; where the match reaches the end, it repeats itself."""
        match = self.match()
        if match is None or most < 1:
            return []
        period = len(self._tokens) - match.follows
        return [self._tokens[match.follows + step % period] for step in range(most)]
