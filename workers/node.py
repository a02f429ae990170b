"""What one node process holds besides Celery: registry, engine link, heart, bell, tokenizer.

Built when the node starts and handed to its tasks by the application object.
"""

import threading
import time
from functools import partial
from pathlib import Path

import structlog
from celery import Celery
from celery.signals import worker_init, worker_shutdown, worker_shutting_down

from models.database import connect
from workers.errors import ConfigurationError
from workers.lease import Heart
from workers.queues import Bell, Piece, TextWriter
from workers.settings import WorkerSettings
from workers.stream import Chunk, Sink
from workers.text import Text
from workers.wire import Hello, Link

log = structlog.get_logger(__name__)

POOL_SIZE = 8
# Within this time a connection is not tried before it is used: what a node writes about its shards is written again
# when it breaks, and what it could not claim or ring is rung by the sweep.
TRUST_S = 1.0
STATEMENT_TIMEOUT_MS = 8_000  # each takes milliseconds; what has not come by then is asked again or rung again
READY_POLL_S = 0.3


class Node:
    """The parts, shared by all threads of the process.

    Raises:
        ConfigurationError: the process was not started by a device's supervisor.
    """

    def __init__(self, settings: WorkerSettings, app: Celery) -> None:
        if settings.node is None:
            raise ConfigurationError("a node is started by `python -m workers.device`, not by hand")
        self.settings = settings
        self.place = settings.node
        self.model = settings.node.model
        self.worker_id = settings.node.worker_id
        url = settings.need_database()
        self.database = connect(
            url,
            pool_size=POOL_SIZE,
            application_name=f"skim-node {self.worker_id}",
            statement_timeout_ms=STATEMENT_TIMEOUT_MS,
            trust_s=TRUST_S,
        )
        self.link = Link(settings.node.socket)
        self.bell = Bell(self.database, app)
        # Of its own, so that busy tasks cannot keep the heart waiting for a connection; a beat that got stuck leaves
        # time for another within the lease.
        self._pulse = connect(
            url,
            pool_size=1,
            application_name=f"skim-heart {self.worker_id}",
            statement_timeout_ms=int(settings.lease_s * 1000 / 2),
            trust_s=TRUST_S,
        )
        self.heart = Heart(
            self._pulse,
            lease_s=settings.lease_s,
            beat_s=settings.heartbeat_s,
            is_alive=lambda: self.link.stalled_s() < settings.stall_s,
        )
        self.writer = TextWriter(settings.redis_url)
        self.sink: Sink = partial(tell, self.writer)  # who is told of output as it comes
        self.searching = threading.Lock()  # held by whoever carries a shard of a search: one at a time
        self._stop_at: float | None = None
        self._texts: dict[str, Text] = {}
        self._loading = threading.Lock()

    @property
    def stop_at(self) -> float | None:
        """When everything must be given back (monotonic clock), once the node has been told to stop."""
        return self._stop_at

    def engine(self) -> Hello | None:
        """Wait until the engine is ready; None when the node stops before that."""
        while self._stop_at is None:
            hello = self.link.wait(READY_POLL_S)
            if hello is not None:
                return hello
        return None

    def rest(self, duration_s: float) -> None:
        """Wait, but not when the node stops."""
        end_at = time.monotonic() + duration_s
        while self._stop_at is None and time.monotonic() < end_at:
            time.sleep(min(READY_POLL_S, duration_s))

    def text(self, folder: str) -> Text:
        """The tokenizer of a prepared folder, loaded once."""
        with self._loading:
            if folder not in self._texts:
                self._texts[folder] = Text(Path(folder))
            return self._texts[folder]

    def stop(self) -> None:
        """Begin to stop. Called by a signal handler, so it takes no lock."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self.settings.grace_s

    def close(self) -> None:
        self.heart.close()
        self.link.close()
        self.bell.close()
        self.writer.close()
        self.database.close()
        self._pulse.close()


def tell(writer: TextWriter, chunk: Chunk) -> None:
    """Hand a chunk to whoever reads the item's text."""
    piece = Piece(
        choice=chunk.choice,
        start=chunk.start,
        num_tokens=len(chunk.tokens),
        offset=chunk.offset,
        text=chunk.text,
        logprobs=chunk.logprobs,
        finish_reason=chunk.finish_reason,
    )
    writer.put(chunk.job_id, chunk.index, piece, chunk.emitted_at)


def attach(app: Celery, settings: WorkerSettings) -> None:
    """Give the application a `node` when its worker starts, and stop it with the worker."""

    def open_node(**_: object) -> None:
        try:
            app.node = Node(settings, app)
        except ConfigurationError as error:
            raise SystemExit(str(error)) from None

    def stop_node(**_: object) -> None:
        app.node.stop()

    def close_node(**_: object) -> None:
        app.node.close()

    worker_init.connect(open_node, weak=False)
    worker_shutting_down.connect(stop_node, weak=False)
    worker_shutdown.connect(close_node, weak=False)
