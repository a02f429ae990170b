"""Tells whoever listens what changed: a job or its items, or an API key. Sent by PostgreSQL at commit, and only then.

A session also keeps what it announced, so that the process that made a change hears of it before its next request.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

CHANNEL: Final = "skim_news"

KEYS: Final = "keys"  # the payload when a key was revoked; otherwise it is a job's id, with its change behind it


class Change(StrEnum):
    """What happened to a job, as it stands behind its id."""

    PLAIN = ""
    PROGRESS = "/progress"  # nothing but that its items came further
    OVER = "/over"


NOTIFY: Final = text("SELECT pg_notify(:channel, :payload)")

ANNOUNCED: Final = "announced"


def notify(session: Session, job_id: str, change: Change = Change.PLAIN) -> None:
    """Announce a change of the job; several alike in one transaction are one notification."""
    _send(session, job_id + change)


def notify_keys(session: Session) -> None:
    """Announce that a key is worthless now."""
    _send(session, KEYS)


def announce(session: Session, payload: str) -> None:
    """Note that a statement of the session notifies by itself."""
    session.info.setdefault(ANNOUNCED, set()).add(payload)


def announced(session: Session) -> Collection[str]:
    """The payloads of a session so far."""
    return frozenset(session.info.get(ANNOUNCED, ()))


def parse(payload: str) -> tuple[str, Change]:
    """Whom a payload speaks of, and what happened; of a kind that another release knows: something."""
    subject, slash, change = payload.partition("/")
    return subject, next((one for one in Change if one == slash + change), Change.PLAIN)


def _send(session: Session, payload: str) -> None:
    session.execute(NOTIFY, {"channel": CHANNEL, "payload": payload})
    announce(session, payload)
