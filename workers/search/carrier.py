"""Carries the shard of a search: optimiser on one side, engine on the other, the registry told of both.

As with items, everything that can happen arrives in one inbox. A search that is interrupted is given back at once; who
claims it next goes on from its trials.
"""

import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue

import structlog

from engine.errors import BadRequest
from engine.request import Failed
from engine.skipset import SkipSet
from models.errors import ModelChanged
from models.searches import SearchView
from models.states import ItemStatus
from workers.carrier import Outcome
from workers.errors import EngineLost, TextError
from workers.lease import Signal
from workers.search.calibration import calibration_of
from workers.search.keeper import Answer, Keeper, KeeperLost
from workers.search.logbook import Logbook
from workers.text import Text
from workers.wire import Link
from workers.wire.searches import Json, SearchEnd, SearchEntry, SearchEvent, SearchNews, SearchOrder, parse_trial

log = structlog.get_logger(__name__)

POLL_S = 0.2

Message = SearchEvent | Failed | EngineLost | Signal | Answer | KeeperLost

_STATUS = {Signal.CANCELLED: ItemStatus.CANCELLED, Signal.EXPIRED: ItemStatus.EXPIRED}


class SearchCarrier:
    """One search in flight. `hear` takes signals from any thread; all else belongs to the thread that runs it.

    `owner` is the name under which trials are claimed; nobody else has it.
    """

    def __init__(
        self,
        view: SearchView,
        owner: str,
        link: Link,
        logbook: Logbook,
        text: Text,
        context: int,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._view, self._owner = view, owner
        self._link, self._logbook = link, logbook
        self._text, self._context = text, context
        self._is_stopping = is_stopping
        self._id = f"{view.job_id}/{owner}"
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._keeper: Keeper | None = None
        self._outcome: Outcome | None = None

    def hear(self, signal: Signal) -> None:
        self._inbox.put(signal)

    def run(self) -> Outcome:
        """Carry it as far as it goes.

        Raises:
            LeaseLost: the shard belongs to somebody else by now.
        """
        try:
            self._logbook.admit()
            self._keeper = Keeper(self._arguments(), self._inbox.put)
            while self._outcome is None:
                for message in self._collect():
                    self._take(message)
                self._write()
                self._attend()
                if self._is_stopping():
                    self._outcome = self._outcome or Outcome.RELEASE
            return self._outcome
        finally:
            self._link.stop_search(self._id)
            if self._keeper is not None:
                self._keeper.close()

    def _write(self) -> None:
        if self._outcome is Outcome.ABANDON:
            return
        try:
            self._logbook.write()
        except ModelChanged as error:
            self._fail("model_changed", str(error))

    def _attend(self) -> None:
        """Look, once a turn, after what nobody says: a lead has nothing to look after."""

    def _arguments(self) -> list[str]:
        view = self._view
        named = {
            "--study": view.study,
            "--layers": str(view.num_layers),
            "--owner": self._owner,
            "--sampler": view.sampler,
            "--seed": str(view.seed),
        }
        return [word for option in named.items() for word in option]

    def _collect(self) -> Iterator[Message]:
        try:
            yield self._inbox.get(timeout=POLL_S)
            while True:
                yield self._inbox.get_nowait()
        except Empty:
            return

    def _take(self, message: Message) -> None:
        if self._outcome is not None:
            return
        match message:
            case Signal.LOST:
                self._outcome = Outcome.ABANDON
            case Signal():
                self._logbook.stop(_STATUS[message])
                self._outcome = Outcome.FINISH
            case EngineLost() | KeeperLost():
                log.warning("a search lost its other half", which=type(message).__name__)
                self._outcome = Outcome.LOST
            case Answer():
                self._hear_keeper(message.entry)
            case SearchEntry():
                self._logbook.enter(message.entry)
                if self._keeper is not None:
                    self._keeper.put(message.entry)
            case SearchNews():
                self._logbook.note(message)
            case SearchEnd():
                self._settle(message)
            case Failed():
                self._fail(message.code, message.message)

    def _hear_keeper(self, entry: Json) -> None:
        """The first line says what is known, and the search begins; the others are the engine's."""
        if entry["do"] != "known":
            self._link.answer(self._id, entry)
            return
        try:
            self._link.search(self._order(entry), self._inbox.put)
        except (TextError, BadRequest) as error:
            self._fail(error.code, str(error))
        except EngineLost:
            self._outcome = Outcome.LOST

    def _order(self, known: Json) -> SearchOrder:
        view, active = self._view, self._view.incumbent
        scored, held_out = calibration_of(view.prompts, self._text, max_tokens=view.max_tokens, context=self._context)
        return SearchOrder(
            self._id,
            view.num_layers,
            scored,
            held_out,
            view.batch_class,
            view.max_trials,
            view.max_seconds,
            None if active is None else SkipSet.of(active.attention, active.mlp),
            view.device_seconds,
            tuple(map(parse_trial, known["trials"])),
            bool(known["can_propose"]),
            known["costs"],
            is_shared=view.workers > 1,
        )

    def _settle(self, end: SearchEnd) -> None:
        try:
            self._logbook.settle(end)
        except ModelChanged as error:
            self._fail("model_changed", str(error))
        self._outcome = Outcome.FINISH

    def _fail(self, code: str, message: str) -> None:
        """End it with an error of its own; one that only found the device taken is given back."""
        if code == "search_running":
            self._outcome = Outcome.RELEASE
            time.sleep(POLL_S)  # whoever it is may be on its way out
            return
        self._logbook.fail(code, message)
        self._outcome = Outcome.FINISH
