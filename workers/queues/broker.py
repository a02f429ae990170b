"""The Celery application as configuration: JSON, no result backend, Redis that may freeze or die at any time.

The row in Postgres is the truth and a message only a doorbell, so everything here prefers giving up soon to waiting.
Importing this loads neither tasks nor torch.
"""

from celery import Celery

from workers.queues import transport
from workers.queues.names import CONTROL

# Seconds. A frozen Redis holds the bell's thread (never a request) this long before the ring is given up.
SOCKET_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
# Messages are acknowledged when a thread takes them; one that is not within this time belonged to a killed node.
VISIBILITY_TIMEOUT_S = 30


def connect(redis_url: str) -> Celery:
    """The configured application; opens no connection yet.

    `redis_url` is a broker address as Celery takes it: `redis://`, `rediss://` or `redis+socket://`.
    """
    transport.install()
    app = Celery("skim", broker=redis_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        event_serializer="json",
        result_backend=None,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_default_queue=CONTROL.name,
        # Recovery is the database sweep, so a message need not outlive the moment a thread takes it.
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_publish_retry=True,
        task_publish_retry_policy={
            "max_retries": 2,
            "interval_start": 0.1,
            "interval_step": 0.2,
            "interval_max": 0.5,
        },
        broker_connection_timeout=CONNECT_TIMEOUT_S,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": SOCKET_TIMEOUT_S,
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 5,
        },
    )
    return app
