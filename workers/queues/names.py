"""Names of queues and tasks, in one place for those who publish and those who consume.

Queues are not configured: a model may be added while everything runs, so publishers pass the `Queue` that `queue_of`
builds and nodes consume it by name.
"""

import re

from kombu import Queue

from models.states import Lane

MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

CONTROL = Queue("control", routing_key="control")
WEBHOOKS = Queue("webhooks", routing_key="webhooks")

SHARD_TASK = "generate.shard"
SWEEP_TASK = "control.sweep"
NIGHTS_TASK = "control.nights"
DELIVER_TASK = "webhooks.deliver"


def queue_of(model: str, lane: Lane, device_kind: str | None = None) -> Queue:
    """The queue that carries the doorbells of one model and lane.

    `device_kind` (`cpu` or `cuda`) is needed for searches only: a skip set is searched on the kind it will serve.

    Raises:
        ValueError: a name that no model can have, or a search without a device kind.
    """
    if not MODEL_NAME.fullmatch(model):
        raise ValueError(f"not a model name: {model!r}")
    if lane is not Lane.SEARCH:
        name = f"generate.{model}.{lane.value}"
    elif device_kind:
        name = f"search.{model}.{device_kind}"
    else:
        raise ValueError("the queue of a search needs a device kind")
    return Queue(name, routing_key=name)
