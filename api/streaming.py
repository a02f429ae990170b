"""OpenAI's streams: a chat or a completion in chunks, as server-sent events, with the usage last if asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

from api import sse
from api.awaiting import PATIENCE_S, call_off
from api.errors import TimedOut
from api.failures import failure_of
from api.following import Following, Incomplete
from api.problems import describe
from api.schemas.answers import Logprobs
from api.schemas.completions import AnyBody, ChatBody
from api.wire import Offsets, text_logprobs, usage_of
from workers.queues import Piece

DONE: Final = sse.event(b"[DONE]")
PING_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Chunks:
    """The wire form of one stream. `created` is in whole seconds since 1970."""

    is_chat: bool
    name: str
    model: str
    created: int
    with_usage: bool

    @classmethod
    def of(cls, body: AnyBody, job_id: str) -> Chunks:
        """What a body asks for."""
        is_chat = isinstance(body, ChatBody)
        name = ("chatcmpl-" if is_chat else "cmpl-") + job_id.removeprefix("job_")
        with_usage = bool(body.stream_options and body.stream_options.include_usage)
        return cls(is_chat, name, body.model, int(time.time()), with_usage)

    def opening(self, index: int) -> bytes:
        """The first chunk of a choice of a chat, which says who speaks."""
        return self._chunk(
            {"index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        )

    def told(self, index: int, piece: Piece, offsets: Offsets) -> Iterator[bytes]:
        """A piece of a choice, all of whose tokens pass `offsets`; in a chat its end is a chunk of its own."""
        logprobs = None if piece.logprobs is None else Logprobs.model_validate({"content": piece.logprobs})
        if not self.is_chat:
            listed = None if logprobs is None else text_logprobs(logprobs, offsets).model_dump()
            said = {"text": piece.text, "logprobs": listed, "finish_reason": piece.finish_reason}
            yield self._chunk({"index": index, **said})
            return
        if piece.text or piece.logprobs:
            listed = None if logprobs is None else logprobs.model_dump()
            delta = {"content": piece.text}
            yield self._chunk({"index": index, "delta": delta, "logprobs": listed, "finish_reason": None})
        if piece.finish_reason is not None:
            yield self._chunk({"index": index, "delta": {}, "logprobs": None, "finish_reason": piece.finish_reason})

    def usage(self, following: Following) -> bytes:
        """The last chunk, without choices."""
        return self._event([], usage_of(following.items()).model_dump())

    def _chunk(self, choice: dict[str, Any]) -> bytes:
        return self._event([choice], None)

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> bytes:
        kind = "chat.completion.chunk" if self.is_chat else "text_completion"
        said = {"id": self.name, "object": kind, "created": self.created, "model": self.model, "choices": choices}
        return sse.event(json.dumps(said | ({"usage": usage} if self.with_usage else {})).encode())


def events(
    following: Following, chunks: Chunks, request_id: str, *, is_repeatable: bool
) -> Generator[bytes, None, None]:
    """The whole stream. What goes wrong before its first event is raised, later it is an event of its own.

    Whoever stops listening calls the job off, unless the request `is_repeatable`: then it may be asked for again.
    """
    has_begun, is_done = False, False
    try:
        for one in _events(following, chunks):
            yield one
            has_begun = True
        is_done = True
    except Exception as error:
        if not has_begun:
            raise
        problem = describe(error)
        yield sse.event(json.dumps({"error": problem.body(request_id)["error"]}).encode())
    finally:
        if not is_done and not is_repeatable:
            call_off(following.database, following.tenant_id, following.job_id)


def _events(following: Following, chunks: Chunks) -> Iterator[bytes]:
    opened: dict[int, Offsets] = {}
    quiet_since = time.monotonic()
    try:
        for item, piece in following.pieces():
            if piece is None:
                quiet_s = time.monotonic() - quiet_since
                if not opened and quiet_s > PATIENCE_S:  # until the first piece nothing tells a client that is gone
                    raise TimedOut(f"no answer within {PATIENCE_S} s")
                if opened and quiet_s > PING_S:
                    quiet_since = time.monotonic()
                    yield sse.PING
                continue
            quiet_since = time.monotonic()
            index = item * following.num_choices + piece.choice
            if chunks.is_chat and index not in opened:
                yield chunks.opening(index)
            yield from chunks.told(index, piece, opened.setdefault(index, Offsets()))
    except Incomplete as error:
        raise failure_of(error.item) from error
    if chunks.with_usage:
        following.wait()
        yield chunks.usage(following)
    yield DONE
