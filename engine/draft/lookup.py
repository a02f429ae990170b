"""Lookup drafting: continue with what followed the same words before, in the prompt or in the output so far.

Token ids only. (Prompt lookup decoding, Saxena 2023; here an incremental index instead of a scan.)
"""

from collections.abc import Sequence

LONGEST = 6  # tokens of suffix that are matched at most
SHORTEST = 2  # one common token says too little about the next


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

    def match(self) -> tuple[int, int]:
        """(index that followed the longest earlier occurrence of the present suffix, its length); (0, 0) for none."""
        end = len(self._tokens)
        for size in range(min(LONGEST, end), SHORTEST - 1, -1):
            follows = self._ends.get(tuple(self._tokens[end - size :]))
            if follows is not None:
                return follows, size
        return 0, 0

    def draft(self, most: int) -> list[int]:
        """Up to ``most`` tokens that may come next; where the match reaches the end, it repeats itself."""
        follows, size = self.match()
        if not size or most < 1:
            return []
        period = len(self._tokens) - follows
        return [self._tokens[follows + step % period] for step in range(most)]
