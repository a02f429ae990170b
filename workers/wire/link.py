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

import structlog

from engine.request import Admitted, Event, Progress, Request
from workers.errors import EngineLost, FrameError
from workers.wire.frames import Buffer, Frame, pack
from workers.wire.messages import Hello, Pulse, cancel_frame, parse_event, submit_frame

log = structlog.get_logger(__name__)

CHUNK = 1 << 16

Deliver = Callable[[Event | EngineLost], None]


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
        self._routes: dict[str, Deliver] = {}
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
        with self._changed:
            if self._socket is None:
                raise EngineLost("the engine is not connected")
            self._routes[request.id] = deliver
            connection = self._socket
        self._send(connection, submit_frame(request))

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

    def _take(self, connection: socket.socket, message: Hello | Pulse | Event) -> None:
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

    def _deliver(self, event: Event) -> None:
        with self._changed:
            is_last = not isinstance(event, Admitted | Progress)
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
