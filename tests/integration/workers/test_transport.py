"""Whatever lies on a queue, the messages behind it arrive."""

import json
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Queue

from tests.faults.injuries import FORGED
from workers.queues import CONTROL, SWEEP_TASK
from workers.queues.transport import MOST_REPEATED

QUEUE = Queue("stray", routing_key="stray")


def test_what_is_no_message_is_dropped(app: Celery, redis_url: str) -> None:
    broker = redis.Redis.from_url(redis_url.replace("redis+socket://", "unix://"))
    seen: list[Any] = []
    with app.connection_for_write() as connection:
        broker.lpush(QUEUE.name, *FORGED)
        with connection.Producer() as producer:
            producer.publish({"good": True}, exchange="", routing_key=QUEUE.name)
        with connection.Consumer([QUEUE], callbacks=[lambda body, message: seen.append((body, message.ack()))]):
            while not seen:
                connection.drain_events(timeout=5)

    assert seen == [({"good": True}, None)]
    assert broker.hlen("unacked") == 0


def test_what_nobody_takes_from_the_control_queue_stays_bounded(app: Celery, redis_url: str) -> None:
    broker = redis.Redis.from_url(redis_url.replace("redis+socket://", "unix://"))
    broker.delete(CONTROL.name)
    with app.connection_for_write() as connection, connection.Producer() as producer:
        for number in range(MOST_REPEATED + 20):
            app.send_task(SWEEP_TASK, args=[number], queue=CONTROL, producer=producer)

    num_waiting, newest = broker.llen(CONTROL.name), broker.lindex(CONTROL.name, 0)
    broker.delete(CONTROL.name)

    assert num_waiting == MOST_REPEATED
    assert f"[{MOST_REPEATED + 19}]" in json.loads(newest or "")["headers"]["argsrepr"]


@pytest.mark.parametrize("scheme", ["redis://127.0.0.1:9/0", "redis+socket:///nowhere", "rediss://127.0.0.1:9/0"])
def test_every_kind_of_address_means_our_transport(app: Celery, scheme: str) -> None:
    with app.connection(scheme) as connection:
        assert connection.get_transport_cls().__name__ == "PatientTransport"
