"""A client that has hung up is told from one that waits or has said more than it was asked."""

import socket

from api.callers import SOCKET, is_gone


def test_who_is_gone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        waiting = is_gone({SOCKET: ours})
        theirs.sendall(b"next request")
        talking = is_gone({SOCKET: ours})
        still_there = ours.recv(99)
        theirs.close()
        gone = is_gone({SOCKET: ours})
    closed = is_gone({SOCKET: ours})

    assert (waiting, talking, gone, closed) == (False, False, True, True)
    assert still_there == b"next request"


def test_a_server_that_shows_no_connection() -> None:
    assert not is_gone({})
