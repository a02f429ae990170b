"""Tells whoever listens what changed: a job or its items, or an API key. Sent by PostgreSQL at commit, and only then.

A session also keeps what it announced, so that the process that made a change hears of it before its next request.
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

CHANNEL: Final = "skim_news"

KEYS: Final = "keys"  # the payload when a key was revoked; otherwise it is a job's id
OVER: Final = "/over"  # behind the job's id when the job has ended

NOTIFY: Final = text("SELECT pg_notify(:channel, :payload)")

ANNOUNCED: Final = "announced"


def notify(session: Session, job_id: str, *, is_over: bool = False) -> None:
    """Announce a change of the job, or that it has ended; several alike in one transaction are one notification."""
    _send(session, job_id + OVER if is_over else job_id)


def notify_keys(session: Session) -> None:
    """Announce that a key is worthless now."""
    _send(session, KEYS)


def announce(session: Session, payload: str) -> None:
    """Note that a statement of the session notifies by itself."""
    session.info.setdefault(ANNOUNCED, set()).add(payload)


def announced(session: Session) -> Collection[str]:
    """The payloads of a session so far."""
    return frozenset(session.info.get(ANNOUNCED, ()))


def _send(session: Session, payload: str) -> None:
    session.execute(NOTIFY, {"channel": CHANNEL, "payload": payload})
    announce(session, payload)
