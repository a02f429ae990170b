"""The node's end of the socket: one connection, one reader thread, answers routed by request id.

Connects again for as long as it lives, since the supervisor restarts a lost engine. When the connection ends, all that
the engine had written is delivered first and `EngineLost` last, so admissions are known before a shard is given up.
"""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from engine.request import Admitted, Event, Failed, Progress, Request
from workers.errors import EngineLost, FrameError
from workers.wire.frames import Buffer, Frame, pack
from workers.wire.messages import (
    Hello,
    Pulse,
    answer_frame,
    cancel_frame,
    parse_event,
    search_frame,
    skip_sets_frame,
    stop_search_frame,
    submit_frame,
)
from workers.wire.searches import SearchEntry, SearchEvent, SearchNews, SearchOrder

log = structlog.get_logger(__name__)

CHUNK = 1 << 16

Deliver = Callable[[Event | EngineLost], None]
DeliverSearch = Callable[[SearchEvent | Failed | EngineLost], None]


class Link:
    """A client of the engine process that listens on `path`. All methods may be called from any thread."""

    def __init__(self, path: Path, *, retry_s: float = 0.1) -> None:
        self._path = path
        self._retry_s = retry_s
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._connection: socket.socket | None = None  # as soon as there is one
        self._socket: socket.socket | None = None  # once the engine has said hello
        self._hello: Hello | None = None
        self._routes: dict[str, Callable[[Any], None]] = {}  # each hears of its own kind alone
        self._pulse = Pulse(steps=0, rows=0, waiting=0)
        self._progress_at = time.monotonic()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._thread.start()

    @property
    def hello(self) -> Hello | None:
        """What the engine serves, while one is connected."""
        return self._hello

    @property
    def pulse(self) -> Pulse:
        """The engine's last word on its progress."""
        return self._pulse

    def wait(self, timeout_s: float) -> Hello | None:
        """The engine's greeting as soon as it is ready, None after `timeout_s` seconds without one."""
        with self._changed:
            self._changed.wait_for(lambda: self._hello is not None or self._closed.is_set(), timeout_s)
            return self._hello

    def stalled_s(self) -> float:
        """Seconds since the engine last made progress, or had nothing to do."""
        return time.monotonic() - self._progress_at

    def submit(self, request: Request, deliver: Deliver) -> None:
        """Send a request. Its events go to `deliver`, called by the reader thread: it must not block.

        Raises:
            EngineLost: no engine is connected. Once this has returned, the loss is delivered instead.
        """
        self._send(self._route(request.id, deliver), submit_frame(request))

    def search(self, order: SearchOrder, deliver: DeliverSearch) -> None:
        """Start a search, likewise; `SearchEnd` or `Failed` is the last that is heard of it."""
        self._send(self._route(order.id, deliver), search_frame(order))

    def stop_search(self, search_id: str) -> None:
        """End a search, of which nothing is heard any more. Unknown ids are ignored."""
        with self._changed:
            connection = self._socket if self._routes.pop(search_id, None) is not None else None
        if connection is not None:
            self._send(connection, stop_search_frame(search_id))

    def answer(self, search_id: str, entry: dict[str, Any]) -> None:
        """Tell a search what its notebook says."""
        with self._changed:
            connection = self._socket if search_id in self._routes else None
        if connection is not None:
            self._send(connection, answer_frame(search_id, entry))

    def swap(self, classes: dict[str, Any]) -> None:
        """Tell the engine what to draft with: {batch class: {id, bits, share, acceptance}, or None for plain}."""
        connection = self._socket
        if connection is not None:
            self._send(connection, skip_sets_frame(classes))

    def _route(self, name: str, deliver: Callable[[Any], None]) -> socket.socket:
        with self._changed:
            if self._socket is None:
                raise EngineLost("the engine is not connected")
            self._routes[name] = deliver
            return self._socket

    def cancel(self, request_id: str) -> None:
        """Ask the engine to end a request; it answers with `Finished`. Unknown ids are ignored."""
        with self._changed:
            connection = self._socket if request_id in self._routes else None
        if connection is not None:
            self._send(connection, cancel_frame(request_id))

    def close(self) -> None:
        """Disconnect; the engine cancels whatever is in flight here."""
        with self._changed:
            self._closed.set()
            _shut(self._connection)
            self._changed.notify_all()
        self._thread.join(2)

    def _send(self, connection: socket.socket, frame: Frame) -> None:
        try:
            with self._sending:
                connection.sendall(pack(frame))
        except OSError:
            _shut(connection)  # the reader sees the end and delivers the loss

    def _run(self) -> None:
        while not self._closed.is_set():
            connection = self._connect()
            if connection is None:
                self._closed.wait(self._retry_s)
                continue
            with connection:
                try:
                    self._adopt(connection)
                    self._read(connection)
                except (OSError, FrameError) as error:
                    log.warning("engine connection broke", reason=type(error).__name__)
                self._lose()

    def _connect(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self._path))
        except OSError:
            connection.close()
            return None
        return connection

    def _adopt(self, connection: socket.socket) -> None:
        with self._changed:
            self._connection = connection
            if self._closed.is_set():
                _shut(connection)

    def _read(self, connection: socket.socket) -> None:
        buffer = Buffer()
        while chunk := connection.recv(CHUNK):
            for frame in buffer.feed(chunk):
                self._take(connection, parse_event(frame))

    def _take(self, connection: socket.socket, message: Hello | Pulse | Event | SearchEvent) -> None:
        match message:
            case Hello():
                with self._changed:
                    self._progress_at = time.monotonic()
                    self._socket, self._hello = connection, message
                    self._changed.notify_all()
            case Pulse():
                if message.is_idle or message.steps != self._pulse.steps:
                    self._progress_at = time.monotonic()
                self._pulse = message
            case event:
                self._progress_at = time.monotonic()
                self._deliver(event)

    def _deliver(self, event: Event | SearchEvent) -> None:
        with self._changed:
            is_last = not isinstance(event, Admitted | Progress | SearchNews | SearchEntry)
            route = self._routes.pop(event.id, None) if is_last else self._routes.get(event.id)
        if route is not None:
            route(event)

    def _lose(self) -> None:
        with self._changed:
            self._connection = self._socket = self._hello = None
            routes, self._routes = self._routes, {}
        for route in routes.values():
            route(EngineLost("the engine process ended"))


def _shut(connection: socket.socket | None) -> None:
    if connection is not None:
        with suppress(OSError):  # it is down already
            connection.shutdown(socket.SHUT_RDWR)
