"""Finding stop strings while tokens arrive. Byte-level tokens may end inside a character, so text is taken
incrementally: what still ends in a replacement character is looked at again with the next token.
"""

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]

_BROKEN = "\N{REPLACEMENT CHARACTER}"


class StopStrings:
    """Watches one row's output for its stop strings; a token costs a decode of a few tokens, not of the whole text."""

    def __init__(self, stops: Sequence[str], decode: Decode) -> None:
        self._stops = stops
        self._decode = decode
        self._keep = max(map(len, stops)) - 1
        self._tokens: list[int] = []
        self._settled = 0  # tokens before this index are done with
        self._read = 0  # tokens before this index have given their text to the tail
        self._tail = ""

    def push(self, token: int) -> str | None:
        """Take one token; return the stop string it completed, the one that begins first, or None."""
        self._tokens.append(token)
        before = self._decode(self._tokens[self._settled : self._read])
        now = self._decode(self._tokens[self._settled :])
        text = self._tail + now[len(before) :].rstrip(_BROKEN)
        if not now.endswith(_BROKEN):
            self._settled, self._read = self._read, len(self._tokens)
            self._tail = text[-self._keep :] if self._keep else ""
        found = [(text.index(stop), stop) for stop in self._stops if stop in text]
        return min(found)[1] if found else None
