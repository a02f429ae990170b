"""Carries one claimed shard through the engine: `run` is the whole of it.

Everything that can happen arrives in one inbox: events of the engine, its loss, signals of the heart. What came of a
batch of events is written in one fenced transaction. The outcome says what is to be done with the shard.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from queue import Empty, SimpleQueue

import structlog

from engine.errors import BadRequest
from engine.request import Admitted, Event, Failed, Finished, FinishReason, Progress
from models.claim import Claim, ClaimedItem
from models.record import ItemResult
from models.states import ItemStatus, Lane
from workers.errors import EngineLost, TextError
from workers.item import Item
from workers.lease import Signal
from workers.ledger import Ledger
from workers.stream import Teller
from workers.text import Text
from workers.wire import Link
from workers.wishes import Wishes
from workers.work import Output, Pass, Work

log = structlog.get_logger(__name__)

POLL_S = 0.5
LINGER_S = 1.0  # that results of bulk work wait for others to be written with, or for the next admission

Message = Event | EngineLost | Signal

_STATUS = {Signal.CANCELLED: ItemStatus.CANCELLED, Signal.EXPIRED: ItemStatus.EXPIRED}


class Outcome(StrEnum):
    """What is to be done with the shard."""

    FINISH = "finish"  # every item ended
    RELEASE = "release"  # given back unfinished; nobody is to blame
    LOST = "lost"  # the engine died under it
    ABANDON = "abandon"  # the lease is somebody else's: write nothing


class Carrier:
    """One shard in flight. `hear` takes signals from any thread; everything else belongs to the thread that runs it.

    `teller` is told of output as it comes.
    """

    def __init__(
        self,
        claim: Claim,
        wishes: Wishes,
        link: Link,
        ledger: Ledger,
        text: Text,
        stop_at: Callable[[], float | None],
        teller: Teller | None = None,
    ) -> None:
        self._claim = claim
        self._wishes = wishes
        self._link = link
        self._ledger = ledger
        self._text = text
        self._stop_at = stop_at
        self._teller = teller
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._items: dict[int, Item] = {}
        self._owner: dict[str, Item] = {}  # request id of a pass in flight: its item
        self._verdict: ItemStatus | None = None  # for whatever cannot finish any more
        self._is_withdrawn = False
        self._outcome: Outcome | None = None
        self._linger_s = LINGER_S if claim.lane is Lane.BULK else 0
        self._ended_at: float | None = None  # when the first of the results ended that are not written yet

    def hear(self, signal: Signal) -> None:
        self._inbox.put(signal)

    def run(self, make: Callable[[ClaimedItem], Work]) -> Outcome:
        """Carry every item as far as it goes.

        Raises:
            LeaseLost: the shard belongs to somebody else by now.
        """
        try:
            self._launch(make)
            while not self._is_over:
                self._heed(POLL_S)
                self._mind_the_time()
            if self._outcome is Outcome.LOST:
                self._heed(0)  # what the engine had said before it was lost
            self._write([])
        finally:
            for request_id in self._owner:
                self._link.cancel(request_id)
        return self._outcome or (Outcome.FINISH if not self._items else Outcome.RELEASE)

    @property
    def _is_over(self) -> bool:
        return self._outcome is not None or not self._items or (self._is_withdrawn and not self._owner)

    # In -------------------------------------------------------------------------------------------------------------

    def _launch(self, make: Callable[[ClaimedItem], Work]) -> None:
        """Prepare and submit item by item, so that the engine starts with the first."""
        for claimed in self._claim.items:
            item = self._items[claimed.index] = Item(claimed)
            self._advance(item, partial(item.begin, make, self._wishes))
            if self._outcome is not None:
                return
        self._note([])  # items that can never run

    def _advance(self, item: Item, step: Callable[[], Sequence[Pass]]) -> None:
        """Let an item do its next step and submit the passes it asks for."""
        try:
            for one in step():
                self._submit(item, one)
        except (TextError, BadRequest) as error:
            item.fail(error.code, str(error))
        except EngineLost:
            self._outcome = Outcome.LOST
        except Exception as error:  # a fault of one item is not its siblings'; its text must not reach the log
            log.error("item could not be prepared", index=item.index, reason=type(error).__name__)
            item.fail("internal_error", "the item could not be prepared")
        else:
            item.succeed()

    def _submit(self, item: Item, one: Pass) -> None:
        claim = self._claim
        request_id = f"{claim.job_id}/{claim.number}/{claim.epoch}/{item.index}/{one.number}/{one.choice}"
        request = item.wishes.request(request_id, item.place, one, alone=item.claimed.suspect)
        self._owner[request.id] = item
        item.waiting[request.id] = one
        self._link.submit(request, self._inbox.put)

    # On the way -----------------------------------------------------------------------------------------------------

    def _heed(self, timeout_s: float) -> None:
        """Act on what has happened, waiting for the first of it at most `timeout_s`, and write what came of it."""
        messages = self._collect(timeout_s)
        self._note([item.index for item in map(self._take, messages) if item is not None])

    def _collect(self, timeout_s: float) -> Iterator[Message]:
        try:
            yield self._inbox.get(timeout=timeout_s) if timeout_s else self._inbox.get_nowait()
            while True:
                yield self._inbox.get_nowait()
        except Empty:
            return

    def _take(self, message: Message) -> Item | None:
        """Act on one message; returns the item that it admits for the first time."""
        match message:
            case Signal.LOST:
                self._outcome = Outcome.ABANDON
            case Signal():
                self._give_up(_STATUS[message])
            case EngineLost():
                self._outcome = self._outcome or Outcome.LOST
            case Admitted():
                item = self._owner[message.id]
                if not item.was_admitted:
                    item.was_admitted = True
                    return item
            case Progress():
                self._tell(message)
            case Finished() | Failed():
                self._end_pass(message)
        return None

    def _tell(self, event: Progress) -> None:
        """Hand on what a round added, to whoever listens."""
        item = self._owner[event.id]
        if self._teller is not None and item.result is None:
            self._teller.add(item.index, item.waiting[event.id].choice, event)

    def _end_pass(self, event: Finished | Failed) -> None:
        item = self._owner.pop(event.id)
        one = item.waiting.pop(event.id)
        if item.result is not None:
            return
        if isinstance(event, Failed):
            item.fail(event.code, event.message)
            self._withdraw(item)
            return
        item.tally.add(one.number, event.statistics)
        if event.finish_reason is not FinishReason.CANCELLED:
            output = self._output(event, min(item.wishes.min_tokens, one.max_tokens))
            if self._teller is not None:
                self._teller.end(item.index, one.choice, output)
            self._advance(item, lambda: item.work.take(one, output))
        if self._verdict is not None:
            self._end_unfinished(item, self._verdict)  # what it has just asked for included

    def _output(self, event: Finished, free: int) -> Output:
        logprobs = None if event.logprobs is None else self._text.spelling.content(event.logprobs)
        return Output(self._text.decode(event.tokens, event.stop, free), event.finish_reason, logprobs)

    def _give_up(self, verdict: ItemStatus) -> None:
        """The job was cancelled or has expired: end what waits for nothing, call back what is in the engine."""
        if self._verdict is None:
            self._verdict = verdict
            for item in self._items.values():
                self._end_unfinished(item, verdict)

    def _end_unfinished(self, item: Item, verdict: ItemStatus) -> None:
        """Call back what an item has in the engine; end it at once where that is nothing."""
        self._withdraw(item)
        if not item.waiting and item.result is None:
            item.stop(verdict)

    def _withdraw(self, item: Item) -> None:
        for request_id in item.waiting:
            self._link.cancel(request_id)

    # Out ------------------------------------------------------------------------------------------------------------

    def _note(self, admitted: Sequence[int]) -> None:
        """Write what came of a batch of messages: admissions at once, results of bulk work a few at a time."""
        num_ended = sum(item.result is not None for item in self._items.values())
        now = time.monotonic()
        if num_ended and self._ended_at is None:
            self._ended_at = now
        is_time = self._ended_at is not None and now - self._ended_at >= self._linger_s
        if admitted or is_time or self._verdict or num_ended == len(self._items):
            self._write(admitted)

    def _write(self, admitted: Sequence[int]) -> None:
        """Write admissions and all results there are."""
        if self._outcome is Outcome.ABANDON:
            return
        self._ended_at = None
        results: list[ItemResult] = [item.result for item in self._items.values() if item.result is not None]
        if admitted or results:
            self._ledger.note(admitted, results)
        for result in results:
            self._withdraw(self._items.pop(result.index))

    def _mind_the_time(self) -> None:
        """When the node stops: call back what has not begun, at once; the rest when the grace period is over."""
        stop_at = self._stop_at()
        if stop_at is None:
            return
        if not self._is_withdrawn:
            self._is_withdrawn = True
            for item in self._items.values():
                if not item.was_admitted:
                    self._withdraw(item)
        if time.monotonic() >= stop_at:
            self._outcome = self._outcome or Outcome.RELEASE
