"""kombu's Redis transport, for queues in which anything may lie: what is no message is dropped and the node lives.

Stock kombu lets the error through, which ends the Celery node; a few stray bytes on a queue would keep it restarting. A
dropped doorbell is rung again by the sweep.

Queues that the clock fills hold a bounded number of messages: it does not know whether a control node is there to take
them, and Redis keeps what nobody takes.
"""

from queue import Empty
from typing import Any, Final

import structlog
from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Channel, Transport

from workers.queues.names import CONTROL, WEBHOOKS

log = structlog.get_logger(__name__)

# What reading and unwrapping a malformed message raises; errors of the connection are others.
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)

REPEATED: Final = frozenset({CONTROL.name, WEBHOOKS.name})  # their messages say the same again and again
MOST_REPEATED: Final = 100  # the newest


class PatientChannel(Channel):  # type: ignore[misc]  # kombu has no types
    """A channel that survives what it is sent."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except MALFORMED as error:
            log.warning("dropped what is no message", reason=type(error).__name__)
            raise Empty from None

    def _put(self, queue: str, message: Any, **options: Any) -> None:
        super()._put(queue, message, **options)
        if queue in REPEATED:
            with self.conn_or_acquire() as client:
                client.ltrim(queue, 0, MOST_REPEATED - 1)


class PatientTransport(Transport):  # type: ignore[misc]  # kombu has no types
    """The transport of such channels."""

    Channel = PatientChannel


def install() -> None:
    """Let every `redis` address of this process mean this transport; an address names no other way to choose one."""
    path = f"{PatientTransport.__module__}:{PatientTransport.__name__}"
    TRANSPORT_ALIASES.update(redis=path, rediss=path)
