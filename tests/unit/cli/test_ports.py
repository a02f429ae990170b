"""Taken ports are noticed before anything starts, and the ports offered instead are free."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from cli.errors import StackError
from cli.stack.plan import Options, check_ports
from cli.stack.ports import LOOPBACK, free_ports, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def test_listening_port_is_taken(taken: int) -> None:
    assert not is_free(taken)


def test_port_is_free_again_after_its_server_closed_with_a_client() -> None:
    server = socket.create_server((LOOPBACK, 0))
    port = server.getsockname()[1]
    client = socket.create_connection((LOOPBACK, port))
    accepted, _ = server.accept()
    accepted.close()
    client.close()
    server.close()

    assert is_free(port)


def test_offered_ports_are_free_and_above(taken: int) -> None:
    offered = free_ports(taken, 3)

    assert len(offered) == len(set(offered))
    assert all(port > taken and is_free(port) for port in offered)


def test_nothing_is_offered_beyond_the_last_port() -> None:
    assert free_ports(65_535) == []


def test_taken_port_is_named_with_others_and_the_option(taken: int) -> None:
    free = free_ports(taken, 1)[0]

    with pytest.raises(StackError, match=rf"port {taken} is taken; free are \d+.*: use --port"):
        check_ports(Options(port=taken, flower_port=free, num_workers=1, model="m"))
    with pytest.raises(StackError, match=rf"port {taken} is taken; .*: use --flower-port"):
        check_ports(Options(port=free, flower_port=taken, num_workers=1, model="m"))


def test_one_port_cannot_serve_both(taken: int) -> None:
    free = free_ports(taken, 1)[0]

    with pytest.raises(StackError, match="both"):
        check_ports(Options(port=free, flower_port=free, num_workers=1, model="m"))
