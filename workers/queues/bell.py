"""The bell: asks, off the caller's thread, that waiting shards be published.

Bounded and dropping: `ring` only notes (model, lane) and returns, so a request never waits for Redis. What is dropped
or cannot be published is rung again by the sweep. Which shards are published is decided by `models.ring`.
"""

import threading
from collections import OrderedDict

import structlog
from celery import Celery
from kombu import Producer, Queue
from kombu.exceptions import ChannelError
from sqlalchemy.exc import SQLAlchemyError

from models.database import Database
from models.faults import Point, reach
from models.ring import ring, searched_on
from models.states import Lane
from workers.queues.meters import PUBLISH_FAILURES, PUBLISHED, RINGS_DROPPED
from workers.queues.names import SHARD_TASK, queue_of

log = structlog.get_logger(__name__)

WINDOW = 16  # shards of one queue that may be rung and not yet claimed
RING_TIMEOUT_S = 5.0  # a ring that led to no claim by then counts as lost
BACKLOG = 60  # times as long, where it may still lie in the queue of bulk work: minutes, where shards are long
CAPACITY = 256  # queues that may wait to be rung


class Bell:
    """One background thread, started by the first ring (make one per process, after any fork).

    `window` bounds the shards rung but unclaimed, and with them the messages the broker holds per queue.
    """

    def __init__(
        self,
        database: Database,
        app: Celery,
        *,
        window: int = WINDOW,
        timeout_s: float = RING_TIMEOUT_S,
        capacity: int = CAPACITY,
    ) -> None:
        self._database = database
        self._app = app
        self._window = window
        self._timeout_s = timeout_s
        self._capacity = capacity
        self._wake = threading.Condition()
        self._pending: OrderedDict[tuple[str, Lane], None] = OrderedDict()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def ring(self, model: str, lane: Lane) -> bool:
        """Ask for the queue of (model, lane) to be topped up. Never blocks.

        Returns: False when the request was dropped, because too many queues wait or the bell is closed.
        """
        reach(Point.RING_ASKED)
        with self._wake:
            if self._is_closed or len(self._pending) >= self._capacity:
                RINGS_DROPPED.inc()
                return False
            self._pending[model, lane] = None
            self._start()
            self._wake.notify()
        return True

    def close(self, timeout_s: float = 2.0) -> None:
        """Publish what is pending and stop, waiting at most `timeout_s` seconds."""
        with self._wake:
            self._is_closed = True
            self._wake.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="bell", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            model, lane = waiting
            try:
                self._top_up(model, lane)
            except Exception as error:  # whatever broker or registry throw, the thread lives and the sweep rings again
                if not isinstance(error, SQLAlchemyError):  # the registry's failures say nothing of the broker
                    PUBLISH_FAILURES.labels(lane.value).inc()
                log.warning("ring failed", model=model, lane=lane.value, reason=type(error).__name__)

    def _next(self) -> tuple[str, Lane] | None:
        with self._wake:
            self._wake.wait_for(lambda: self._pending or self._is_closed)
            return self._pending.popitem(last=False)[0] if self._pending else None

    def _top_up(self, model: str, lane: Lane) -> None:
        queue = self._queue(model, lane)
        if queue is None:
            return
        with self._app.producer_pool.acquire(block=True) as producer:
            # Shards rung long ago may still lie in the queue of busy nodes: a full queue is not rung again.
            depth = _depth(queue, producer)
            if depth >= self._window:
                return
            with self._database.session() as session:
                refs = ring(
                    session,
                    model,
                    lane,
                    window=self._window,
                    timeout_s=self._timeout_s,
                    depth=depth if lane is Lane.BULK else 0,
                    longest_s=self._timeout_s * BACKLOG,
                )
                reach(Point.RING_WRITTEN)
            reach(Point.RING_COMMITTED)
            for ref in refs:
                self._app.send_task(SHARD_TASK, args=(ref.job_id, ref.number), queue=queue, producer=producer)
                reach(Point.RING_SENT)
                PUBLISHED.labels(lane.value).inc()

    def _queue(self, model: str, lane: Lane) -> Queue | None:
        """Where the lane's shards go; None when the search that was rung for is over."""
        if lane is not Lane.SEARCH:
            return queue_of(model, lane)
        with self._database.session() as session:
            kind = searched_on(session, model)
        return None if kind is None else queue_of(model, lane, kind)


def _depth(queue: Queue, producer: Producer) -> int:
    try:
        return int(queue(producer.channel).queue_declare(passive=True).message_count)
    except ChannelError:  # the broker knows no such queue: nothing waits in it
        return 0
