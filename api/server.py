"""A gunicorn thread worker whose clients must keep sending and reading.

gunicorn's own sets no time-out on an accepted socket, so a client that stalls in the middle of a request holds a thread
for ever. Here each request has `GRACE_S` seconds, and every `MIN_BYTES_PER_S` bytes that arrive earn another second.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from typing import Any, Final

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from api.extension import EXTENSION

GRACE_S: Final = 15.0
SILENCE_S: Final = 10.0  # no single read or write may take longer
MIN_BYTES_PER_S: Final = 1024


class SlowClient(ConnectionResetError, TimeoutError):
    """The client sends too slowly; a connection error for gunicorn, a time-out for the application."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client sends too slowly")


class TimedSocket(socket.socket):
    """A blocking socket whose reads are bounded one by one and over a whole request."""

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self._deadline = time.monotonic() + GRACE_S

    def begin(self) -> None:
        """A request starts."""
        self._deadline = time.monotonic() + GRACE_S

    def setblocking(self, flag: bool, /) -> None:
        """Blocking means blocking for a while."""
        self.settimeout(SILENCE_S if flag else 0.0)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Read; raises SlowClient when time is up."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise SlowClient
        before = self.gettimeout()
        self.settimeout(left if before is None else min(left, before))
        try:
            data = super().recv(size, flags)
        except TimeoutError:
            raise SlowClient from None
        finally:
            self.settimeout(before)
        self._deadline += len(data) / MIN_BYTES_PER_S
        return data


class TimedWorker(ThreadWorker):  # type: ignore[misc]
    """gthread over timed sockets; asked to stop, it answers long polls at once instead of waiting for them."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM. The waiters are let go by a thread: a signal handler must not wait for their lock."""
        super().handle_exit(sig, frame)
        app = getattr(self, "wsgi", None)  # none before it is loaded
        services = getattr(app, "extensions", {}).get(EXTENSION)
        if services is not None:
            threading.Thread(target=services.watcher.close, name="stop", daemon=True).start()

    def enqueue_req(self, conn: Any) -> None:
        """Every accepted connection passes here first."""
        if not isinstance(conn.sock, TimedSocket):
            conn.sock = TimedSocket(conn.sock)
        super().enqueue_req(conn)

    def handle(self, conn: Any) -> Any:
        """One request of a connection, in a thread."""
        conn.sock.begin()
        return super().handle(conn)
