"""Tells the registry, every other second, that this worker lives and what it serves; and once, what passes cost.

In return it learns which skip sets are to draft here.
"""

import os
import socket
import threading
from collections.abc import Callable
from enum import StrEnum

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models.database import Database
from models.fleet import WorkerBeat, announce, leave
from models.places import active_sets
from workers.device.book import CostBook
from workers.device.plan import Plan
from workers.device.sets import Sets, sets_of
from workers.wire import Hello

log = structlog.get_logger(__name__)

BEAT_S = 2.0
LEAVE_S = 2.0


class Status(StrEnum):
    """What a worker is doing."""

    LOADING = "loading"
    READY = "ready"
    STOPPING = "stopping"


class Presence:
    """A thread that announces; `update` announces a change at once. A registry that is away is tried again."""

    def __init__(self, database: Database, plan: Plan, book: CostBook) -> None:
        self._database = database
        self._plan = plan
        self._book = book
        self._kept: Hello | None = None  # whose costs are in the book
        self.sets: Sets = {}  # what drafts here by skipping, as last seen
        self._status = Status.LOADING
        self._hello: Hello | None = None
        self._changed = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="presence", daemon=True)
        self._thread.start()

    def update(self, status: Status, hello: Hello | None = None) -> None:
        if (status, hello) != (self._status, self._hello):
            self._status, self._hello = status, hello
            self._changed.set()

    def close(self) -> None:
        """Leave the registry's list."""
        self._is_closed = True
        self._changed.set()
        self._thread.join(LEAVE_S)

    def _run(self) -> None:
        while not self._is_closed:
            self._changed.clear()
            self._write(self._announce)
            self._keep_costs(self._hello)
            self._changed.wait(BEAT_S)
        self._write(lambda session: leave(session, self._plan.worker_id))

    def _announce(self, session: Session) -> None:
        announce(session, self._beat())
        model = self._plan.model
        found = active_sets(session, model.name, model.revision, self._plan.device.kind, model.dtype)
        self.sets = sets_of(found, model.num_layers)

    def _keep_costs(self, hello: Hello | None) -> None:
        costs = hello.costs if hello is not None and hello is not self._kept else None
        if costs is not None and self._write(lambda session: self._book.keep(session, costs)):
            self._kept = hello

    def _write(self, write: Callable[[Session], None]) -> bool:
        try:
            with self._database.session() as session:
                write(session)
        except SQLAlchemyError as error:
            log.warning("registry unreachable", reason=type(error).__name__)
            return False
        return True

    def _beat(self) -> WorkerBeat:
        plan, hello = self._plan, self._hello
        return WorkerBeat(
            id=plan.worker_id,
            name=plan.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            model=plan.model.name,
            device=plan.device.name,
            device_kind=plan.device.kind,
            dtype=hello.dtype if hello else plan.model.dtype,
            rows=hello.rows if hello else plan.rows,
            status=self._status,
            drafters=hello.drafters if hello else (),
            note=hello.note if hello else None,
        )
