"""Is the client of a long request still there? For one that has hung up nothing more should be done."""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from typing import Any, Final

SOCKET: Final = "gunicorn.socket"  # where the server leaves the connection of a request


def is_gone(environ: Mapping[str, Any]) -> bool:
    """Whether the client has closed its end; False where the server does not show the connection."""
    connection = environ.get(SOCKET)
    if not isinstance(connection, socket.socket):
        return False
    poller = select.poll()
    try:
        poller.register(connection, select.POLLIN)
        if not poller.poll(0):
            return False
        # The class's own: the connection's counts what it reads against the request's time.
        return socket.socket.recv(connection, 1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):  # reset, or closed under us
        return True
