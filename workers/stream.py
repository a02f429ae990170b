"""Output as it comes: tokens of rounds to pieces of text that will not have to be taken back.

A piece is held back while it ends inside a character or could still become a stop string. The pieces of a choice, in
order, are its output.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.request import Progress
from workers.text import BROKEN, Text
from workers.work import Output

Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a round added to a choice of an item.

    `start` counts the choice's tokens before `tokens`, `offset` its characters before `text` (which may lag behind the
    tokens). An item that is done again starts again at 0 with the same text. `logprobs` has an entry a token, as the
    API shows them. The last chunk of a choice has a `finish_reason`; of one that fails there is none. `emitted_at` is
    that of the `Progress`.
    """

    job_id: str
    index: int
    choice: int
    start: int
    tokens: tuple[int, ...]
    offset: int
    text: str
    logprobs: list[dict[str, Any]] | None = None
    finish_reason: str | None = None
    emitted_at: float | None = None


Sink = Callable[[Chunk], None]  # called by the thread that carries the shard: it must neither block nor raise


class TextStream:
    """The text of one choice, token by token; a push decodes a few tokens, not the whole text.

    Stop strings among the first `free` tokens end nothing.
    """

    def __init__(self, stops: Sequence[str], decode: Decode, free: int = 0) -> None:
        self._stops = stops
        self._free = free
        self._decode = decode
        self._tokens: list[int] = []
        self._settled = 0  # tokens before this index are done with
        self._read = 0  # tokens before this index have given their text
        self._held = ""
        self.num_tokens = 0
        self.num_characters = 0

    def push(self, tokens: Sequence[int]) -> str:
        """Take tokens; returns what can be told for certain."""
        rest = max(0, self._free - self.num_tokens)
        told = self._push(tokens[:rest], ()) if rest else ""
        return told + self._push(tokens[rest:], self._stops)

    def _push(self, tokens: Sequence[int], stops: Sequence[str]) -> str:
        self.num_tokens += len(tokens)
        self._tokens += tokens
        before = self._decode(self._tokens[self._settled : self._read])
        now = self._decode(self._tokens[self._settled :])
        if not now.endswith(BROKEN):
            self._held += now[len(before) :]
            self._settled, self._read = self._read, len(self._tokens)
        return self._release(stops)

    def close(self, output: str) -> str:
        """The rest, now that the whole output is known."""
        rest = output[self.num_characters :]
        self.num_characters = max(self.num_characters, len(output))
        return rest

    def _release(self, stops: Sequence[str]) -> str:
        """Everything before what is, or may become, a stop string."""
        end = min((at for stop in stops if (at := _place(stop, self._held)) >= 0), default=len(self._held))
        told, self._held = self._held[:end], self._held[end:]
        self.num_characters += len(told)
        return told


class Teller:
    """Tells a sink of the items of one shard; `stops` end no text among its first `free` tokens."""

    def __init__(self, job_id: str, stops: Sequence[str], text: Text, sink: Sink, free: int = 0) -> None:
        self._job_id = job_id
        self._stops = stops
        self._free = free
        self._text = text
        self._sink = sink
        self._streams: dict[tuple[int, int], TextStream] = {}

    def add(self, index: int, choice: int, event: Progress) -> None:
        """A round added tokens to a choice of an item."""
        stream = self._stream(index, choice)
        offset, text = stream.num_characters, stream.push(event.tokens)
        logprobs = None if event.logprobs is None else self._text.spelling.content(event.logprobs)
        chunk = Chunk(self._job_id, index, choice, event.start, event.tokens, offset, text, logprobs)
        self._sink(replace(chunk, emitted_at=event.emitted_at))

    def end(self, index: int, choice: int, output: Output) -> None:
        """A choice has ended."""
        stream = self._stream(index, choice)
        start, offset, rest = stream.num_tokens, stream.num_characters, stream.close(output.text)
        reason = output.finish_reason.value
        self._sink(Chunk(self._job_id, index, choice, start, (), offset, rest, finish_reason=reason))

    def _stream(self, index: int, choice: int) -> TextStream:
        return self._streams.setdefault((index, choice), TextStream(self._stops, self._text.decode, self._free))


def _place(stop: str, text: str) -> int:
    """Where `stop` begins in `text`, whole or, at the end, in part; -1 if it does not."""
    whole = text.find(stop)
    if whole >= 0:
        return whole
    start = max(0, len(text) - len(stop) + 1)
    return next((at for at in range(start, len(text)) if stop.startswith(text[at:])), -1)
