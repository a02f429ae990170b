"""Following a job's text as it comes: pieces from Redis while there are any, the items' rows for the rest.

Every character and token of a choice is told once and in order, whatever is written twice (an item that was done again)
or not at all (Redis was away): pieces say where they belong.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from api.callers import is_gone
from api.errors import Busy, ClientGone
from api.watch import Watcher
from api.wire import choices_of
from models.database import Database
from models.items import ItemView, stream_items
from models.jobs import is_over
from models.states import ItemStatus
from workers.queues import Piece, TextReader, Untold

LOOK_S: Final = 0.5  # between two looks at a quiet job: is it over, is anybody there?
KEY_S: Final = 2.0  # between two looks at the key of whoever follows

Place = tuple[int, int]  # item, choice


class Incomplete(Exception):
    """An item ended otherwise than well, perhaps in the middle of its text."""

    def __init__(self, item: ItemView) -> None:
        super().__init__(item.status.value)
        self.item = item


@dataclass(slots=True)
class Told:
    """How far a choice has been told."""

    tokens: int = 0
    characters: int = 0
    is_over: bool = False

    def take(self, piece: Piece) -> Piece | None:
        """What of a piece is new; None for nothing, and for what comes after a gap."""
        old_tokens, old_characters = self.tokens - piece.start, self.characters - piece.offset
        if self.is_over or old_tokens < 0 or old_characters < 0:
            return None
        self.tokens = max(self.tokens, piece.start + piece.num_tokens)
        self.characters = max(self.characters, piece.offset + len(piece.text))
        self.is_over = piece.finish_reason is not None
        new = replace(
            piece,
            start=piece.start + old_tokens,
            num_tokens=max(0, piece.num_tokens - old_tokens),
            offset=piece.offset + old_characters,
            text=piece.text[old_characters:],
            logprobs=None if piece.logprobs is None else piece.logprobs[old_tokens:],
        )
        return new if new.text or new.logprobs or new.finish_reason else None


@dataclass(slots=True)
class Following:
    """A job that is being followed. `environ` is that of the request, whose client may go away; `check_key` raises
    Unauthorized once its key is revoked.
    """

    database: Database
    watcher: Watcher
    reader: TextReader
    environ: Mapping[str, Any]
    check_key: Callable[[], None]
    tenant_id: str
    job_id: str
    num_items: int
    num_choices: int
    told: dict[Place, Told] = field(default_factory=dict)
    seen: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        items, choices = range(self.num_items), range(self.num_choices)
        self.told = {(index, choice): Told() for index in items for choice in choices}
        self.seen = dict.fromkeys(items, "0")

    def pieces(self) -> Iterator[tuple[int, Piece | None]]:
        """New pieces with their item's index, to the last of the last choice; (0, None) while there is no news.

        Raises:
            Incomplete: an item failed, was cancelled or expired.
            ClientGone: nobody listens any more.
            Unauthorized: whoever listens may not any more.
            Busy: the service stops.
        """
        check_at = 0.0
        while not all(told.is_over for told in self.told.values()):
            if time.monotonic() >= check_at:
                self.check_key()
                check_at = time.monotonic() + KEY_S
            num_new = 0
            for index, piece in self._hear():
                num_new += 1
                yield index, piece
            if not num_new:
                self._check_listener()
                if self._is_over():
                    yield from self._rest()
                    return
                yield 0, None

    def wait(self) -> None:
        """Return once the job has ended, which it does soon after its last piece."""
        while not self.watcher.until(self.job_id, self._is_over, bool, LOOK_S):
            self._check_listener()

    def items(self) -> Sequence[ItemView]:
        """The items, once the job has ended."""
        with self.database.session() as session:
            return list(stream_items(session, self.tenant_id, self.job_id))

    def _hear(self) -> Iterator[tuple[int, Piece]]:
        try:
            for index, place, piece in self.reader.read(self.job_id, self.seen, LOOK_S):
                self.seen[index] = place
                told = self.told.get((index, piece.choice))
                new = None if told is None else told.take(piece)
                if new is not None:
                    yield index, new
        except Untold:
            self.watcher.until(self.job_id, self._is_over, bool, LOOK_S)

    def _rest(self) -> Iterator[tuple[int, Piece]]:
        """What the rows have and nobody has told yet."""
        for item in self.items():
            if item.status is not ItemStatus.SUCCEEDED:
                raise Incomplete(item)
            for choice, said in enumerate(choices_of(item)):
                logprobs = None if said["logprobs"] is None else said["logprobs"]["content"]
                whole = Piece(choice, 0, len(logprobs or ()), 0, said["output"] or "", logprobs, said["finish_reason"])
                # Without log-probabilities nobody counts tokens: only the characters say what is new.
                told = self.told[item.index, choice]
                rest = told.take(whole if logprobs is not None else replace(whole, start=told.tokens))
                if rest is not None:
                    yield item.index, rest

    def _is_over(self) -> bool:
        with self.database.session() as session:
            return is_over(session, self.job_id)

    def _check_listener(self) -> None:
        if is_gone(self.environ):
            raise ClientGone("the client hung up")
        if self.watcher.is_closed:
            raise Busy("the service is stopping")
