"""One accepted connection of the engine's socket: never blocks, buffers both ways, gives up on a stuck client."""

import selectors
import socket
from collections.abc import Iterator

from workers.wire.frames import MAX_BYTES, Buffer, Frame, pack

CHUNK = 1 << 18


class Connection:
    """A non-blocking client. `is_over` once it closed, broke or left more than 64 MiB unread."""

    def __init__(self, accepted: socket.socket, number: int, selector: selectors.BaseSelector) -> None:
        accepted.setblocking(False)
        self.number = number
        self.is_over = False
        self._socket = accepted
        self._selector = selector
        self._inbox = Buffer()
        self._outbox = bytearray()
        selector.register(accepted, selectors.EVENT_READ, self)

    def receive(self) -> Iterator[Frame]:
        """Frames that have arrived.

        Raises:
            FrameError: the client does not speak the protocol.
        """
        try:
            chunk = self._socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.is_over = True
        yield from self._inbox.feed(chunk)

    def send(self, frame: Frame) -> None:
        """Send a frame now or, where the client is slow, later."""
        self._outbox += pack(frame)
        self.flush()
        if len(self._outbox) > MAX_BYTES:
            self.is_over = True

    def flush(self) -> None:
        """Send what the client takes now."""
        try:
            while self._outbox and not self.is_over:
                del self._outbox[: self._socket.send(self._outbox)]
        except BlockingIOError:
            pass  # the selector says when there is room
        except OSError:
            self.is_over = True
        if not self.is_over:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbox else 0)
            self._selector.modify(self._socket, wanted, self)

    def close(self) -> None:
        self._selector.unregister(self._socket)
        self._socket.close()
