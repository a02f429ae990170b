"""The server's part for searches: what their frames ask for, and when a unit of one is due between rounds.

Knows no torch: what searches is a `Searches`, in the engine process the host of `workers.search`.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import structlog

from engine.errors import BadRequest
from engine.request import Failed
from workers.errors import FrameError
from workers.wire.frames import Frame
from workers.wire.messages import parse_search
from workers.wire.searches import SearchEvent, SearchOrder
from workers.wire.share import Share

log = structlog.get_logger(__name__)

Told = SearchEvent | Failed


class Searches(Protocol):
    """What runs searches beside a decoder, and tells it which skip sets to draft with."""

    def start(self, order: SearchOrder, /) -> Sequence[Told]: ...

    def stop(self, search_id: str, /) -> None: ...

    def answer(self, search_id: str, entry: dict[str, Any], /) -> None: ...

    def step(self) -> Sequence[Told]: ...

    def swap(self, classes: Mapping[str, dict[str, Any] | None], /) -> None: ...

    @property
    def is_ready(self) -> bool: ...

    @property
    def num_units(self) -> int: ...


class Desk:
    """Takes the frames about searches, and does their units in turn with rounds. Without `searches` it refuses all."""

    KINDS: Final = frozenset({"search", "stop_search", "answer", "skip_sets"})

    def __init__(self, searches: Searches | None) -> None:
        self._searches = searches
        self._share = Share()
        self.open: set[str] = set()

    @property
    def num_units(self) -> int:
        return 0 if self._searches is None else self._searches.num_units

    def obey(self, key: str, frame: Frame) -> Sequence[Told]:
        """Do what a frame asks for; frames about searches that have ended are ignored.

        Raises FrameError when it is malformed.
        """
        match frame["type"]:
            case "search":
                return self._start(key, frame)
            case "stop_search":
                self.stop(key)
            case "answer" if key in self.open:
                self._answer(key, frame)
            case "skip_sets":
                self._swap(frame)
        return []

    def stop(self, key: str) -> None:
        if key in self.open and self._searches is not None:
            self._searches.stop(key)
        self.open.discard(key)

    def is_due(self, *, is_idle: bool) -> bool:
        """Whether a unit may be done now."""
        is_ready = self._searches is not None and self._searches.is_ready
        return is_ready and (is_idle or self._share.may_search)

    def note_round(self, seconds: float, *, is_interactive: bool) -> None:
        self._share.decode(seconds, is_interactive=is_interactive)

    def step(self, *, is_idle: bool) -> Sequence[Told]:
        """A unit."""
        if self._searches is None:
            return []
        began = time.perf_counter()
        told = self._searches.step()
        if is_idle:
            self._share.rest()
        else:
            self._share.search(time.perf_counter() - began)
        return told

    def _start(self, key: str, frame: Frame) -> Sequence[Told]:
        self.open.add(key)
        if self._searches is None:
            return [Failed(key, "search_unsupported", "this engine does not search")]
        try:
            order = parse_search({**frame, "id": key})
        except BadRequest as error:
            return [Failed(key, error.code, str(error))]
        return self._searches.start(order)

    def _answer(self, key: str, frame: Frame) -> None:
        try:
            if self._searches is not None:
                self._searches.answer(key, frame["entry"])
        except (KeyError, TypeError, ValueError, BadRequest) as error:
            raise FrameError(f"an answer is malformed: {error!r}") from error

    def _swap(self, frame: Frame) -> None:
        try:
            if self._searches is not None:
                self._searches.swap(frame["classes"])
        except BadRequest as error:
            log.error("skip sets of another network", reason=str(error))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FrameError(f"a frame of skip sets is malformed: {error!r}") from error
