"""What a publisher needs: queue names, the configured broker, the bell. The API imports nothing else of `workers`."""

from workers.queues.bell import Bell
from workers.queues.broker import connect
from workers.queues.names import CONTROL, SHARD_TASK, SWEEP_TASK, queue_of

__all__ = ["CONTROL", "SHARD_TASK", "SWEEP_TASK", "Bell", "connect", "queue_of"]
