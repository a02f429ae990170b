"""A gunicorn thread worker whose clients must keep sending and reading, and have no thread before they have asked.

gunicorn's own gives a thread to every connection and no time-out to its socket, so clients that stall hold all threads,
and it waits in its only loop for clients that do not hang up. Here the loop gathers the head of a request, and a short
body; only then is there a thread.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any, Final

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from api.connection import TimedSocket
from api.extension import EXTENSION

LINGER_S: Final = 2.0  # for a client to read its answer that was hung up on while it sent
DRAIN_S: Final = 0.05  # for the rest of a body that nobody wanted: what is here already
LOOK_S: Final = 0.2  # between two looks at who is late


class TimedWorker(ThreadWorker):  # type: ignore[misc]
    """gthread over timed sockets; asked to stop, it answers long polls at once instead of waiting for them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._leaving: set[Any] = set()
        self._look_at = 0.0

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM. The waiters are let go by a thread: a signal handler must not wait for their lock."""
        super().handle_exit(sig, frame)
        app = getattr(self, "wsgi", None)  # none before it is loaded
        services = getattr(app, "extensions", {}).get(EXTENSION)
        if services is not None:
            threading.Thread(target=services.watcher.close, name="stop", daemon=True).start()

    def enqueue_req(self, conn: Any) -> None:
        """Every connection that can be read passes here; one without a request yet waits in the loop."""
        if not isinstance(conn.sock, TimedSocket):
            conn.sock = TimedSocket(conn.sock)
        # What gunicorn read ahead of a pipelined request is its own to continue.
        if _has_read_ahead(conn) or conn.sock.gather():
            conn.data_ready = True
            super().enqueue_req(conn)
            return
        conn.sock.begin()
        conn.sock.setblocking(False)
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def on_pending_socket_readable(self, conn: Any, client: socket.socket) -> None:
        """More of a request has come, within the time that it had from the start."""
        if conn.sock.gather():
            super().on_pending_socket_readable(conn, client)

    def finish_request(self, conn: Any, fs: Any) -> None:
        """A request is over. The next one on its connection may have been gathered along with it."""
        if fs.cancelled() or fs.exception() is not None or not fs.result():
            self._part(conn)
            return
        super().finish_request(conn, fs)
        if conn.sock.has_gathered and conn in self.keepalived_conns:
            self.on_client_socket_readable(conn, conn.sock)

    def murder_pending(self) -> None:
        """Called by the loop at every turn: let go of those whose time is up, or who ask for nothing when it stops."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        for conn in [one for one in self.pending_conns if one.sock.is_late or not (self.alive or one.sock.has_head)]:
            self._give_up(conn)
        for conn in [one for one in self._leaving if one.timeout <= now]:
            self._forget(conn)

    def handle(self, conn: Any) -> Any:
        """One request of a connection, in a thread."""
        conn.sock.begin()
        return super().handle(conn)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Whether the connection is kept. A body that nobody wanted is not waited for."""
        return bool(keepalive and conn.parser.finish_body(deadline=time.monotonic() + DRAIN_S))

    def _give_up(self, conn: Any) -> None:
        """Close a connection without a request; one whose body stopped coming is told so by the application."""
        self.poller.unregister(conn.sock)
        self.pending_conns.remove(conn)
        if not conn.sock.has_head:
            self.nr_conns -= 1
            conn.close()
            return
        conn.sock.give_up()
        conn.data_ready = True
        super().enqueue_req(conn)

    def _part(self, conn: Any) -> None:
        """Hang up (RFC 9112, section 9.6): a client that still sends must not lose the answer by a reset.

        The loop throws away what comes until the client has hung up, too; gunicorn's own would wait for it.
        """
        conn.timeout = time.monotonic() + LINGER_S
        self._leaving.add(conn)
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_leaving_socket_readable, conn))
        except (OSError, ValueError):  # it is gone already
            self._forget(conn)

    def _on_leaving_socket_readable(self, conn: Any, client: TimedSocket) -> None:
        if client.is_at_end():
            self._forget(conn)

    def _forget(self, conn: Any) -> None:
        self._leaving.discard(conn)
        with suppress(OSError, KeyError, ValueError):  # it was never watched
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()


def _has_read_ahead(conn: Any) -> bool:
    return conn.parser is not None and bool(conn.parser.unreader.buf.getvalue())
