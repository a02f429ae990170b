"""The engine's end of the socket: takes requests between rounds, steps the decoder, sends what came of it.

One thread does it all: a second busy thread would take the interpreter lock from every tensor operation. After a round
comes at most one unit of a search, if the `Desk` says that one is due. While nothing is in flight it sleeps in
`select`. What it decodes with is a `Decoder`; it knows no torch.
"""

import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog

from engine.errors import BadRequest
from engine.request import Admitted, Event, Failed, Progress, Request
from workers.errors import FrameError
from workers.wire.connection import Connection
from workers.wire.desk import Desk, Searches
from workers.wire.frames import Frame
from workers.wire.messages import Hello, Pulse, event_frame, hello_frame, parse_submit, pulse_frame
from workers.wire.searches import SearchEntry, SearchEvent, SearchNews, search_event_frame

log = structlog.get_logger(__name__)

PULSE_S = 1.0

Measure = Callable[[], tuple[int | None, int | None]]


class Decoder(Protocol):
    """What the server steps: the engine, or in tests something faster."""

    def submit(self, request: Request) -> None: ...

    def cancel(self, request_id: str, /) -> Sequence[Event]: ...

    def admit(self) -> Sequence[Event]: ...

    def step(self) -> Sequence[Event]: ...

    @property
    def is_idle(self) -> bool: ...

    @property
    def num_steps(self) -> int: ...


class Server:
    """Serves `decoder` on the unix socket `path` (in a folder that only its owner may enter).

    `measure` gives the memory in use and all there is, in bytes.
    """

    def __init__(
        self,
        decoder: Decoder,
        hello: Hello,
        path: Path,
        measure: Measure | None = None,
        searches: Searches | None = None,
    ) -> None:
        self._decoder = decoder
        self._desk = Desk(searches)
        self._interactive: set[str] = set()
        self._hello = hello
        self._measure = measure
        self._owners: dict[str, tuple[Connection, str]] = {}  # engine's request id: who asked, under which id
        self._admitted: set[str] = set()
        self._connections: dict[int, Connection] = {}
        self._inbox: deque[tuple[Connection, Frame]] = deque()  # what came in the middle of a round
        self._num_accepted = 0
        self._pulse_at = 0.0
        self._is_stopping = False
        self._selector = selectors.DefaultSelector()
        self._listener = _listen(path)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def stop(self) -> None:
        """End as soon as nobody is connected. Safe in a signal handler."""
        self._is_stopping = True

    def is_wanted(self) -> bool:
        """Whether an interactive request has come. For the middle of a round: nothing is obeyed before its end."""
        for key, mask in self._selector.select(0):
            if key.data is not None and mask & selectors.EVENT_READ:
                self._receive(key.data)
        return any(frame.get("type") == "submit" and frame.get("lane") == "interactive" for _, frame in self._inbox)

    def run(self) -> None:
        """Serve until stopped. Whatever the decoder raises ends it: the process is to be started anew."""
        try:
            while not (self._is_stopping and not self._connections):
                is_idle = self._decoder.is_idle and not self._desk.is_due(is_idle=True)
                self._exchange(PULSE_S / 4 if is_idle and not self._inbox else 0)
                if not self._decoder.is_idle:
                    self._decode()
                self._search()
                self._beat()
        finally:
            self._close()

    def _decode(self) -> None:
        """A round."""
        is_interactive, began = bool(self._interactive), time.perf_counter()
        self._report(self._decoder.admit())  # told before the first pass: it may be the last one
        self._report(self._decoder.step())
        self._desk.note_round(time.perf_counter() - began, is_interactive=is_interactive)

    def _search(self) -> None:
        """A unit of a search, if one is due."""
        is_idle = self._decoder.is_idle
        if self._desk.is_due(is_idle=is_idle):
            self._report(self._desk.step(is_idle=is_idle))

    def _close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._listener.close()
        self._selector.close()

    def _exchange(self, timeout_s: float) -> None:
        for key, mask in self._selector.select(timeout_s):
            if key.fileobj is self._listener:
                self._accept()
            else:
                connection: Connection = key.data
                if mask & selectors.EVENT_WRITE:
                    connection.flush()
                if mask & selectors.EVENT_READ:
                    self._receive(connection)
        self._obey_all()
        for connection in list(self._connections.values()):
            if connection.is_over:
                self._drop(connection)

    def _accept(self) -> None:
        accepted, _ = self._listener.accept()
        self._num_accepted += 1
        connection = Connection(accepted, self._num_accepted, self._selector)
        self._connections[connection.number] = connection
        connection.send(hello_frame(self._hello))

    def _receive(self, connection: Connection) -> None:
        try:
            self._inbox += [(connection, frame) for frame in connection.receive()]
        except FrameError as error:
            self._distrust(connection, error)

    def _obey_all(self) -> None:
        while self._inbox:
            connection, frame = self._inbox.popleft()
            try:
                self._obey(connection, frame)
            except FrameError as error:
                self._distrust(connection, error)

    def _distrust(self, connection: Connection, error: FrameError) -> None:
        log.error("a client sent nonsense", reason=str(error))
        connection.is_over = True

    def _obey(self, connection: Connection, frame: Frame) -> None:
        key = f"{connection.number}/{frame.get('id')}"
        match frame.get("type"):
            case "submit":
                self._submit(connection, key, frame)
            case "cancel" if key in self._owners:
                self._report(self._decoder.cancel(key))
            case "cancel":
                pass  # it ended while the cancellation was on its way
            case kind if kind in Desk.KINDS:
                if kind == "search":
                    self._owners[key] = connection, str(frame.get("id"))
                self._report(self._desk.obey(key, frame))
                if kind == "stop_search":
                    self._forget(key)
            case kind:
                raise FrameError(f"an unknown frame: {kind!r}")

    def _submit(self, connection: Connection, key: str, frame: Frame) -> None:
        try:
            self._owners[key] = connection, str(frame.get("id"))
            self._decoder.submit(parse_submit({**frame, "id": key}))
            if frame.get("lane") == "interactive":
                self._interactive.add(key)
        except BadRequest as error:
            self._report([Failed(key, error.code, str(error))])

    def _forget(self, key: str) -> None:
        self._admitted.discard(key)
        self._interactive.discard(key)
        self._desk.open.discard(key)
        self._owners.pop(key, None)

    def _report(self, events: Sequence[Event | SearchEvent]) -> None:
        for event in events:
            if isinstance(event, Admitted):
                self._admitted.add(event.id)
            owner = self._owners.get(event.id)
            if not isinstance(event, Admitted | Progress | SearchNews | SearchEntry):
                self._forget(event.id)
            if owner is not None and not owner[0].is_over:
                self._tell(*owner, event)

    def _tell(self, connection: Connection, request_id: str, event: Event | SearchEvent) -> None:
        if isinstance(event, Progress):
            event = replace(event, emitted_at=time.monotonic())
        try:
            frame = event_frame(event) if isinstance(event, Event) else search_event_frame(event)
            connection.send({**frame, "id": request_id})
        except FrameError as error:  # too long an answer is the fault of one request, not of the engine
            connection.send(event_frame(Failed(request_id, "answer_too_large", str(error))))

    def _beat(self) -> None:
        if time.monotonic() - self._pulse_at < PULSE_S:
            return
        self._pulse_at = time.monotonic()
        rows = len(self._admitted)
        used, total = (None, None) if self._measure is None else self._measure()
        steps = self._decoder.num_steps + self._desk.num_units
        waiting = len(self._owners) - len(self._desk.open) - rows
        pulse = Pulse(steps, rows, waiting, memory_used=used, memory_total=total)
        for connection in self._connections.values():
            connection.send(pulse_frame(pulse))

    def _drop(self, connection: Connection) -> None:
        del self._connections[connection.number]
        connection.close()
        for key in [key for key, (owner, _) in self._owners.items() if owner is connection]:
            self._desk.stop(key)
            self._report(self._decoder.cancel(key))
            self._forget(key)


def _listen(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(16)
    listener.setblocking(False)
    return listener
