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
        self._passed = 0  # characters behind those, up to a broken one, that belong to tokens passed over
        self._tail = ""

    def push(self, token: int) -> str | None:
        """Take one token; return the stop string it completed, the one that begins first, or None."""
        fresh, is_whole = self._append(token)
        text = self._tail + fresh[self._passed :]
        if is_whole:
            self._tail = text[-self._keep :] if self._keep else ""
            self._passed = 0
        found = [(text.index(stop), stop) for stop in self._stops if stop in text]
        return min(found)[1] if found else None

    def pass_over(self, token: int) -> None:
        """Take one of the first tokens, in whose text no stop string counts that ends or only begins there.

        What comes next is still read behind it: some tokenizers drop the space of a word that begins a text.
        """
        fresh, is_whole = self._append(token)
        self._passed = 0 if is_whole else len(fresh)

    def _append(self, token: int) -> tuple[str, bool]:
        """The text that was not settled before, up to a broken character; and whether it is settled now."""
        self._tokens.append(token)
        before = self._decode(self._tokens[self._settled : self._read])
        now = self._decode(self._tokens[self._settled :])
        is_whole = not now.endswith(_BROKEN)
        if is_whole:
            self._settled, self._read = self._read, len(self._tokens)
        return now[len(before) :].rstrip(_BROKEN), is_whole
