"""Loopback ports: is one free, and which near it are."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"
MAX_PORT = 65_535


def is_free(port: int) -> bool:
    """Whether a server could bind the port now (what lingers of closed connections does not count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(above: int, count: int = 3, *, besides: frozenset[int] = frozenset()) -> list[int]:
    """The first `count` free ports above a taken one (fewer at the end of the range)."""
    found: list[int] = []
    for port in range(above + 1, MAX_PORT + 1):
        if len(found) == count:
            break
        if port not in besides and is_free(port):
            found.append(port)
    return found
