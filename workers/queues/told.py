"""Text on its way to clients, token by token: one Redis Stream an item, bounded and expiring.

Writers drop rather than wait, readers are told when Redis is away: whatever is missing here, the item's row has in the
end. An item that is done again is written again from its start, so every piece says where it belongs.
"""

import json
import queue
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import structlog
from redis import Redis, RedisError

from workers.queues.meters import PIECES_DROPPED

log = structlog.get_logger(__name__)

CAPACITY: Final = 8192  # pieces that may wait to be written
BURST: Final = 256  # pieces written at once
MAX_PIECES: Final = 16_384  # kept of an item
KEEP_S: Final = 300  # after the last piece
TIMEOUT_S: Final = 2.0  # more than anybody waits for a piece
PAUSE_S: Final = 1.0  # after a failure

_FIELD = "piece"
_EMITTED = "emitted_at"  # beside the piece: readers of earlier releases know the piece's fields and no others


class Untold(Exception):
    """Redis does not answer: nothing can be said of what was written."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of one choice of an item.

    `start` counts the tokens before it, `offset` the characters; `text` may lag behind the tokens. `logprobs` has an
    entry a token. The last piece of a choice has a `finish_reason`.
    """

    choice: int
    start: int
    num_tokens: int
    offset: int
    text: str
    logprobs: list[dict[str, Any]] | None = None
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    """A piece on its way, and when the engine had it where that is known (seconds, monotonic clock of its host)."""

    key: str
    piece: Piece
    emitted_at: float | None

    @property
    def fields(self) -> dict[Any, Any]:
        piece = {_FIELD: json.dumps(asdict(self.piece))}
        return piece if self.emitted_at is None else {**piece, _EMITTED: self.emitted_at}


class TextWriter:
    """Writes pieces from a thread of its own. `put` never blocks; the thread starts with the first piece."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._waiting: queue.Queue[_Entry | None] = queue.Queue(CAPACITY)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, job_id: str, index: int, piece: Piece, emitted_at: float | None = None) -> None:
        """Note a piece; dropped where too many wait. `emitted_at` is for whoever measures: readers do not need it."""
        self._start()
        try:
            self._waiting.put_nowait(_Entry(_key(job_id, index), piece, emitted_at))
        except queue.Full:
            PIECES_DROPPED.inc()
            log.warning("a piece of text was dropped", job=job_id, index=index)

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits and stop, within so many seconds."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            try:
                self._waiting.put(None, timeout=timeout_s)
            except queue.Full:
                return
            thread.join(timeout_s)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="text-writer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        client = connect(self._redis_url, TIMEOUT_S)
        is_open = True
        while is_open:
            burst, is_open = self._collect()
            try:
                _write(client, burst)
            except (RedisError, OSError) as error:
                PIECES_DROPPED.inc(len(burst))
                log.warning("text could not be told", pieces=len(burst), reason=type(error).__name__)
                self._drop()
        client.close()

    def _collect(self) -> tuple[list[_Entry], bool]:
        """What waits, at most `BURST` pieces, and whether more may come."""
        burst: list[_Entry] = []
        one = self._waiting.get()
        while one is not None:
            burst.append(one)
            if len(burst) >= BURST or self._waiting.empty():
                return burst, True
            one = self._waiting.get()
        return burst, False

    def _drop(self) -> None:
        """Leave an unreachable server alone for a moment, and forget what came meanwhile: readers have the rows."""
        threading.Event().wait(PAUSE_S)
        with self._waiting.mutex:
            is_closing = None in self._waiting.queue
            PIECES_DROPPED.inc(len(self._waiting.queue) - is_closing)
            self._waiting.queue.clear()
            if is_closing:
                self._waiting.queue.append(None)


class TextReader:
    """Reads the pieces of some items of a job, from the first on."""

    def __init__(self, redis_url: str) -> None:
        self._client = connect(redis_url, TIMEOUT_S)

    def read(self, job_id: str, seen: Mapping[int, str], wait_s: float) -> Iterator[tuple[int, str, Piece]]:
        """New pieces as (item's index, place in its stream, piece), after those seen last, by index ("0": none).

        Waits at most `wait_s` seconds for the first of them.

        Raises:
            Untold: Redis is away.
        """
        keys = {_key(job_id, index): index for index in seen}
        try:
            places: dict[Any, Any] = {key: seen[index] for key, index in keys.items()}
            found: Any = self._client.xread(places, block=max(1, int(wait_s * 1000)))
        except (RedisError, OSError) as error:
            raise Untold(type(error).__name__) from error
        for key, entries in found.items() if isinstance(found, dict) else found or ():
            yield from _pieces(keys[key.decode()], entries)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


def connect(redis_url: str, timeout_s: float) -> Redis:
    """A client for the broker's address as Celery takes it; the client itself calls a socket's scheme `unix`."""
    url = redis_url.replace("redis+socket://", "unix://", 1)
    return Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, protocol=2)


def _pieces(index: int, entries: Any) -> Iterator[tuple[int, str, Piece]]:
    for place, fields in entries:
        yield index, place.decode(), Piece(**json.loads(fields[_FIELD.encode()]))


def _write(client: Redis, burst: list[_Entry]) -> None:
    if not burst:
        return
    with client.pipeline(transaction=True) as pipe:  # a stream that was cut off from its expiry would stay for ever
        for entry in burst:
            pipe.xadd(entry.key, entry.fields, maxlen=MAX_PIECES, approximate=True)
        for key in {entry.key for entry in burst}:
            pipe.expire(key, KEEP_S)
        pipe.execute()


def _key(job_id: str, index: int) -> str:
    return f"skim:told:{job_id}:{index}"
