"""Serves what a process counts, at `/metrics` of an address of its own, to whoever reaches it: loopback, if not told
otherwise. The API has a route instead.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

import structlog
from prometheus_client import REGISTRY, start_http_server
from prometheus_client.registry import Collector

from workers.errors import ConfigurationError

log = structlog.get_logger(__name__)

NUM_PORTS: Final = 16  # processes of one machine may share one setting: each takes the first port that is free


@dataclass(frozen=True, slots=True)
class Bind:
    """Where to listen: the first free port from `port` on."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Self | None:
        """From `address:port`; None from nothing.

        Raises:
            ConfigurationError: it is neither.
        """
        if not text.strip():
            return None
        host, _, port = text.strip().rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= 65_535 - NUM_PORTS:
            raise ConfigurationError(f"SKIM_METRICS_BIND must be like 127.0.0.1:9464, not {text!r}")
        return cls(host.strip("[]"), int(port))


def serve(bind: Bind | None, registry: Collector = REGISTRY) -> int | None:
    """Serve from a thread; returns the port. A machine without a free one goes without: work matters more."""
    if bind is None:
        return None
    for port in range(bind.port, bind.port + NUM_PORTS):
        with suppress(OSError):
            start_http_server(port, bind.host, registry)
            log.info("metrics served", host=bind.host, port=port)
            return port
    log.warning("no port for metrics", host=bind.host, first=bind.port, last=bind.port + NUM_PORTS - 1)
    return None
