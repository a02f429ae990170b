"""Where metrics are served: at the address that was asked for, or beside it."""

import socket
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Gauge

from workers.errors import ConfigurationError
from workers.exporter import NUM_PORTS, Bind, serve


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return min(int(probe.getsockname()[1]), 65_000)


def test_a_bind_is_an_address_and_a_port() -> None:
    assert Bind.of("") is None
    assert Bind.of("127.0.0.1:9464") == Bind("127.0.0.1", 9464)
    assert Bind.of("[::1]:9464") == Bind("::1", 9464)


@pytest.mark.parametrize("text", ["9464", ":9464", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:0", "127.0.0.1:65535"])
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigurationError, match="SKIM_METRICS_BIND"):
        Bind.of(text)


def test_nothing_is_served_unasked() -> None:
    assert serve(None) is None


def test_processes_with_one_setting_take_ports_of_their_own() -> None:
    bind = Bind("127.0.0.1", free_port())
    found = []
    for number in (1, 2):
        registry = CollectorRegistry()
        Gauge("skim_number", "-", registry=registry).set(number)
        port = serve(bind, registry)
        assert port is not None and bind.port <= port < bind.port + NUM_PORTS
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            found.append(answer.read().decode())

    assert ["skim_number 1.0" in found[0], "skim_number 2.0" in found[1]] == [True, True]
