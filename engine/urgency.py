"""When bulk rows make way for interactive ones inside a round, and how often at most.

A round in progress is the longest wait of an interactive request. So a round of bulk rows alone is left unfinished when
one arrives: rounds are atomic, what it had computed is computed again later. And the first token of an interactive row
comes from a pass without the bulk rows. Neither happens more than `_MOST` times before bulk rows had a round, so
however many interactive requests come, bulk work goes on.
"""

from collections.abc import Callable, Sequence

from engine.row import Row

_MOST = 2  # one round left for a request, and the first token of that request


class MadeWay(Exception):
    """A pass was left unfinished for an interactive request that has come."""


def _nobody() -> bool:
    return False


class Urgency:
    """`is_wanted` is asked between the layers of bulk passes whether an interactive request has come: it must be quick.

    It must not call the engine.
    """

    def __init__(self) -> None:
        self.is_wanted: Callable[[], bool] = _nobody
        self._debt = 0  # times that bulk rows made way since their last round

    def check_for(self, rows: Sequence[Row]) -> Callable[[], None] | None:
        """What a pass over these rows calls now and then; it raises MadeWay. None: the pass is not to be disturbed."""
        if self.is_wanted is _nobody or self._debt >= _MOST - 1 or any(row.request.interactive for row in rows):
            return None
        return self._check

    def first_tokens(self, rows: Sequence[Row]) -> int:
        """How many of the last of these decoding rows get their first token in a pass without the bulk rows."""
        count = next((i for i, row in enumerate(reversed(rows)) if not _awaits_first(row)), len(rows))
        if not count or all(row.request.interactive for row in rows) or self._debt >= _MOST:
            return 0
        self._debt += 1
        return count

    def settle(self, rows: Sequence[Row]) -> None:
        """A round of these rows is done."""
        if not all(row.request.interactive for row in rows):
            self._debt = 0

    def _check(self) -> None:
        if self.is_wanted():
            self._debt += 1
            raise MadeWay


def _awaits_first(row: Row) -> bool:
    return row.request.interactive and row.num_generated == 0
