"""An accepted connection: what of a request has arrived, and how long its client may still take for the rest.

A request has `GRACE_S` seconds to arrive, and as many again once it has a thread; every `MIN_BYTES_PER_S` bytes of a
body earn another second.
"""

from __future__ import annotations

import errno
import re
import socket
import time
from typing import Any, Final

GRACE_S: Final = 15.0
SILENCE_S: Final = 10.0  # no single read or write may take longer
MIN_BYTES_PER_S: Final = 1024
GATHERED_BYTES: Final = 64 * 1024  # of a request before it has a thread, and of what is thrown away after its answer

END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
LENGTH: Final = re.compile(rb"\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r?\n", re.IGNORECASE)


class SlowClient(ConnectionResetError, TimeoutError):
    """The client sends or reads too slowly; a connection error for gunicorn, a time-out for the application."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client is too slow")


class TimedSocket(socket.socket):
    """A blocking socket whose reads are bounded one by one and over a whole request, after what was gathered."""

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, fileno=accepted.detach())
        self._deadline = time.monotonic() + GRACE_S
        self._gathered = bytearray()
        self._num_thrown = 0
        self._is_given_up = False

    @property
    def has_gathered(self) -> bool:
        """Whether there is something to read that no poller sees."""
        return bool(self._gathered)

    @property
    def has_head(self) -> bool:
        """Whether the head of a request was gathered."""
        return END_OF_HEAD.search(self._gathered) is not None

    @property
    def is_late(self) -> bool:
        """Whether the time of the request is up."""
        return time.monotonic() >= self._deadline

    def begin(self) -> None:
        """A request starts, or has a thread now."""
        if not self._is_given_up:
            self._deadline = time.monotonic() + GRACE_S

    def give_up(self) -> None:
        """Nothing more is read than what was gathered: whoever wants more is told that the client is too slow."""
        self._is_given_up = True
        self._deadline = 0.0

    def gather(self) -> bool:
        """Take what has arrived, without waiting; whether that is worth a thread: a request, or the end."""
        while not is_worth_a_thread(self._gathered):
            try:
                data = super().recv(GATHERED_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except OSError:
                return True  # whoever reads will see
            if not data:
                return True
            self._gathered += data
            if self.has_head:
                self._deadline += len(data) / MIN_BYTES_PER_S
        return True

    def is_at_end(self) -> bool:
        """Throw away what has arrived, without waiting; whether nothing more will come, or too much."""
        try:
            data = super().recv(GATHERED_BYTES, socket.MSG_DONTWAIT)
            self._num_thrown += len(data)
            return not data or self._num_thrown > GATHERED_BYTES
        except BlockingIOError:
            return False
        except OSError:
            return True

    def setblocking(self, flag: bool, /) -> None:
        """Blocking means blocking for a while."""
        self.settimeout(SILENCE_S if flag else 0.0)

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Read; raises SlowClient when time is up."""
        if self._gathered:
            ahead = bytes(self._gathered[:size])
            del self._gathered[:size]
            return ahead
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

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        """Write all of it; raises SlowClient where that takes too long."""
        try:
            super().sendall(data, flags)
        except TimeoutError:
            raise SlowClient from None


def is_worth_a_thread(gathered: bytes | bytearray) -> bool:
    """Whether a request is here: its head, and its body if that is short and has a length. More is read by a thread."""
    if len(gathered) >= GATHERED_BYTES:
        return True
    end = END_OF_HEAD.search(gathered)
    if end is None:
        return False
    length = LENGTH.search(gathered, 0, end.end())
    whole = end.end() + (0 if length is None else int(length[1]))
    return len(gathered) >= whole or whole > GATHERED_BYTES
