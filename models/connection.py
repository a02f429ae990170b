"""Connections that find out that their server is gone, though it never said so.

Machines, networks and disks fail without a word, and TCP by itself waits a quarter of an hour for an answer.
"""

import time
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen

RV = TypeVar("RV")

CONNECT_TIMEOUT_S: Final = 5
PING_S: Final = 2.0  # within which a connection that is tried has to answer
MARGIN_S: Final = 1.0  # that an answer may take beyond the time that the server gives its statement
# Less than a lease, and more than one lost packet: a machine that acknowledges nothing for 5 s is gone. Neither of the
# two ends keeps the other's locks or threads. Sockets of the unix kind ignore all of it.
TCP: Final[Mapping[str, Any]] = {
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}
SERVER_TCP: Final[Mapping[str, str]] = {
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "5000",
}


class Connection(psycopg.Connection[Any]):
    """One that waits `patience_s` seconds for an answer, then closes; None: as long as the other machine is there.

    What TCP cannot see: a server that is frozen or waits for its disk, or one that is gone behind a proxy.
    """

    patience_s: float | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """As psycopg's, which looks up every `interval` seconds: needlessly where a `timeout` ends it soon.

        Raises:
            psycopg.OperationalError: no answer came in time.
        """
        if timeout is not None:
            return super().wait(gen, max(interval, timeout), timeout)
        if self.patience_s is None:
            return super().wait(gen, interval, None)
        began_at = time.monotonic()
        try:
            return super().wait(gen, interval, self.patience_s)
        except psycopg.OperationalError:
            if time.monotonic() - began_at >= self.patience_s:
                self.close()  # an answer that comes later would be taken for the next one's
            raise
