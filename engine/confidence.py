"""How likely drafts are to be right before they are made: by the length of the lookup match, and by skipping.

Learned over all rows of the engine, then corrected by the row's own record. Knows no costs.
"""

from bisect import bisect_right
from collections.abc import Sequence

from engine.acceptance import Acceptance, Record

_MATCHES = (1, 2, 3, 4, 5, 7, 10, 16)  # shortest match of each class
# Before anything was seen: what was measured on sampled text, the least of four kinds (bench/LOG.md).
_PRIORS = (0.18, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.9)
_SKIP_PRIOR = 0.6
_MOST_PRIOR = 0.98  # what was measured on a few prompts is not promised of all


class Confidence:
    """Rates of acceptance, learned while decoding."""

    def __init__(self) -> None:
        self._by_match = [Acceptance(prior) for prior in _PRIORS]
        self._skip = Acceptance(_SKIP_PRIOR)
        self._by_length: list[float] = []  # rate of each match length, made when it is asked for

    def lookups(self, record: Record, match: int, count: int) -> list[float]:
        """The rates of ``count`` tokens that follow a match; each right one makes the match of the next one longer."""
        if not self._by_length:
            self._by_length = [self._of_match(length).rate for length in range(1, _MATCHES[-1] + 1)]
        known = self._by_length[match - 1 : match - 1 + count]
        return record.correct(known + self._by_length[-1:] * (count - len(known)))

    def skip(self, record: Record) -> float:
        """The rate of each token drafted by skipping."""
        return record.correct([self._skip.rate])[0]

    def learn_lookups(self, record: Record, match: int, drafts: Sequence[int], picked: Sequence[int]) -> None:
        """Score looked-up tokens, made drafts or only imagined ones, against the text the full network wrote."""
        self._by_length = []
        for depth, (draft, token) in enumerate(zip(drafts, picked, strict=False)):
            self._learn(self._of_match(match + depth), record, draft == token)
            if draft != token:
                return

    def learn_skips(self, record: Record, drafts: Sequence[int], picked: Sequence[int]) -> None:
        """Score tokens that were drafted by skipping."""
        for draft, token in zip(drafts, picked, strict=False):
            self._learn(self._skip, record, draft == token)
            if draft != token:
                return

    def with_other_skips(self, acceptance: float | None = None) -> "Confidence":
        """For the drafts of another skip set: what is learned of lookups is shared, nothing of skipping.

        ``acceptance`` is what somebody measured of the set, to begin with.
        """
        other = Confidence()
        other._by_match = self._by_match
        other._skip = Acceptance(_SKIP_PRIOR if acceptance is None else min(_MOST_PRIOR, acceptance))
        return other

    def _of_match(self, length: int) -> Acceptance:
        return self._by_match[bisect_right(_MATCHES, length) - 1]

    def _learn(self, seen: Acceptance, record: Record, is_right: bool) -> None:
        record.add(is_right, seen.rate)
        seen.add(is_right)
