"""Tells the registry, every few seconds, that this worker lives and what it serves."""

import os
import socket
import threading
from datetime import UTC, datetime

import structlog
from models.database import Database
from models.fleet import WorkerBeat, WorkerStatus, announce
from sqlalchemy.exc import SQLAlchemyError

from workers.device.plan import Plan
from workers.wire import Hello

log = structlog.get_logger(__name__)

BEAT_S = 3.0


class Presence:
    """A thread that announces; `update` announces a change at once. A registry that is away is tried again."""

    def __init__(self, database: Database, plan: Plan) -> None:
        self._database = database
        self._plan = plan
        self._started_at = datetime.now(UTC)
        self._status = WorkerStatus.LOADING
        self._hello: Hello | None = None
        self._changed = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)
        self._thread.start()

    def update(self, status: WorkerStatus, hello: Hello | None = None) -> None:
        if (status, hello) != (self._status, self._hello):
            self._status, self._hello = status, hello
            self._changed.set()

    def close(self) -> None:
        self._is_closed = True
        self._changed.set()
        self._thread.join(2)

    def _run(self) -> None:
        while True:
            self._changed.clear()
            is_last = self._is_closed
            self._announce()
            if is_last:
                return
            self._changed.wait(BEAT_S)

    def _announce(self) -> None:
        plan, hello = self._plan, self._hello
        beat = WorkerBeat(
            id=plan.worker_id,
            name=plan.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            model=plan.model.name,
            device=plan.device.name,
            device_kind=plan.device.kind,
            dtype=hello.dtype if hello else plan.model.dtype,
            rows=plan.rows,
            status=self._status,
            started_at=self._started_at,
        )
        try:
            with self._database.session() as session:
                announce(session, beat)
        except SQLAlchemyError as error:
            log.warning("could not announce", reason=type(error).__name__)
