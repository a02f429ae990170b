"""kombu's Redis transport, for queues in which anything may lie: what is no message is dropped and the node lives.

Stock kombu lets the error through, which ends the Celery node; a few stray bytes on a queue would keep it restarting. A
dropped doorbell is rung again by the sweep.
"""

from queue import Empty
from typing import Any

import structlog
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Channel, Transport

log = structlog.get_logger(__name__)

# What reading and unwrapping a malformed message raises; errors of the connection are others.
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class PatientChannel(Channel):  # type: ignore[misc]  # kombu has no types
    """A channel that survives what it is sent."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except MALFORMED as error:
            log.warning("dropped what is no message", reason=type(error).__name__)
            raise Empty from None


class PatientTransport(Transport):  # type: ignore[misc]  # kombu has no types
    """The transport of such channels."""

    Channel = PatientChannel


def install() -> None:
    """Let every `redis` address of this process mean this transport; an address names no other way to choose one."""
    path = f"{PatientTransport.__module__}:{PatientTransport.__name__}"
    TRANSPORT_ALIASES.update(redis=path, rediss=path)
