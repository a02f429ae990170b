"""The task of the webhooks queue: tells the owners of jobs that have ended. On a control node, never a device's."""

from functools import cached_property
from typing import Final

from celery import Task

from models.database import connect
from workers.app import app, settings
from workers.queues import DELIVER_TASK
from workers.senders import Senders

CONNECTIONS: Final = 4  # the senders need one only between two deliveries
STATEMENT_TIMEOUT_MS: Final = 10_000


class Deliverer(Task):  # type: ignore[misc]
    """What the task keeps between runs. One instance per process, made by Celery."""

    @cached_property
    def senders(self) -> Senders:
        database = connect(
            settings.need_database(),
            pool_size=CONNECTIONS,
            application_name="skim-webhooks",
            statement_timeout_ms=STATEMENT_TIMEOUT_MS,
        )
        return Senders(database, allow_private=settings.allows_private_webhooks)


@app.task(base=Deliverer, bind=True, name=DELIVER_TASK)  # type: ignore[untyped-decorator]  # Celery has no types
def deliver_all(self: Deliverer) -> None:
    """Send what is due. Receivers may be slow: the node's own threads wait for none of them."""
    self.senders.wake()
