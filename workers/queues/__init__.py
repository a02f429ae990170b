"""What goes over Redis: queue names, the configured broker, the bell, text as it comes, and where work comes from.

The API imports nothing else of `workers`.
"""

from workers.queues.bell import Bell
from workers.queues.broker import connect
from workers.queues.names import CONTROL, DELIVER_TASK, SHARD_TASK, SWEEP_TASK, WEBHOOKS, queue_of
from workers.queues.origin import Origin
from workers.queues.told import Piece, TextReader, TextWriter, Untold

__all__ = [
    "CONTROL",
    "DELIVER_TASK",
    "SHARD_TASK",
    "SWEEP_TASK",
    "WEBHOOKS",
    "Bell",
    "Origin",
    "Piece",
    "TextReader",
    "TextWriter",
    "Untold",
    "connect",
    "queue_of",
]
