"""Sending what is due, several deliveries at a time: receivers that hang hold up their own tenant, not the others.

No transaction is open while something is sent.
"""

import json
import threading
import time
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from models.database import Database
from models.deliveries import Taken, note_delivered, note_failed, secret_of, take_delivery
from workers.posting import Undeliverable, post, sign
from workers.turns import Turns

log = structlog.get_logger(__name__)

AT_ONCE: Final = 16
PER_TENANT: Final = 4
PER_HOST: Final = 2


class Senders:
    """Up to `AT_ONCE` threads of one process. Each sends one delivery after another and ends when none is due."""

    def __init__(self, database: Database, *, allow_private: bool) -> None:
        self._database = database
        self._allow_private = allow_private
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._turns = Turns(PER_TENANT, PER_HOST)
        self._is_closed = threading.Event()

    def wake(self) -> None:
        """Start a sender unless all are at work. One that finds something to do wakes the next."""
        if not self._is_closed.is_set() and self._places.acquire(blocking=False):
            # Not waited for at exit: what a killed sender had in hand is due again after its lease.
            threading.Thread(target=self._run, name="sender", daemon=True).start()

    def close(self) -> None:
        """Take nothing more; return once all senders have ended."""
        self._is_closed.set()
        for _ in range(AT_ONCE):
            self._places.acquire()

    def _run(self) -> None:
        try:
            while not self._is_closed.is_set() and (found := self._take()) is not None:
                self.wake()
                self._send(*found)
        except SQLAlchemyError as error:
            log.warning("deliveries failed", reason=type(error).__name__)
        finally:
            self._places.release()

    def _take(self) -> tuple[Taken, str] | None:
        """The next delivery and the secret to sign it with."""
        turns = self._turns
        with self._lock:
            with self._database.session() as session:
                taken = take_delivery(
                    session, full_tenants=turns.full_tenants, full_hosts=turns.full_hosts, served=turns.served
                )
                if taken is None:
                    return None
                secret = secret_of(session, taken.tenant_id)
            turns.begin(taken.tenant_id, taken.host)
        return taken, secret

    def _send(self, taken: Taken, secret: str) -> None:
        try:
            error = self._post(taken, secret)
        finally:
            with self._lock:
                self._turns.end(taken.tenant_id, taken.host)
        with self._database.session() as session:
            if error is None:
                note_delivered(session, taken.id)
            else:
                note_failed(session, taken, error)

    def _post(self, taken: Taken, secret: str) -> str | None:
        """Why it was not accepted; None when it was."""
        body = event(taken)
        try:
            headers = sign(secret, taken.id, int(time.time()), body)
            post(taken.url, body, headers, allow_private=self._allow_private)
        except Undeliverable as error:
            log.warning("webhook not delivered", job=taken.job["id"], attempt=taken.attempts, reason=str(error))
            return str(error)
        return None


def event(taken: Taken) -> bytes:
    """What a receiver is sent."""
    told = {
        "id": taken.id,
        "object": "event",
        "type": f"job.{taken.job['status']}",
        "created_at": int(taken.created_at.timestamp()),
        "data": taken.job,
    }
    return json.dumps(told).encode()
