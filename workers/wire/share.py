"""Whose turn it is: decoding, or a unit of a search beside it. Pure accounting of seconds.

An idle device searches at full speed. While rows decode, a search has a bounded share of the time: a tenth beside
interactive rows, a quarter beside bulk rows alone. It is paid for in advance, so the first tokens of rows that arrive
come undisturbed; what they may have to wait for is the unit that is running just then.
"""

SHARE_INTERACTIVE = 0.1
SHARE_BULK = 0.25
ADVANCE_S = 0.2  # of searching, to be earned by decoding before the first unit beside rows: the longest a unit may be


class Share:
    """Credit of a search, in seconds: earned by decoding, spent by units beside it."""

    def __init__(self) -> None:
        self._credit_s = -ADVANCE_S

    @property
    def may_search(self) -> bool:
        """Whether a unit may be done although rows decode."""
        return self._credit_s >= 0

    def decode(self, seconds: float, *, is_interactive: bool) -> None:
        """Enter a round. Nothing is saved up: after a long time without units one is due, not many."""
        share = SHARE_INTERACTIVE if is_interactive else SHARE_BULK
        self._credit_s = min(0.0, self._credit_s + seconds * share / (1 - share))

    def search(self, seconds: float) -> None:
        """Enter a unit that was done while rows decode."""
        self._credit_s -= seconds

    def rest(self) -> None:
        """No row decodes: the next ones begin anew, and debts are not forgiven."""
        self._credit_s = min(self._credit_s, -ADVANCE_S)
