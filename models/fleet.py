"""The fleet: which devices decode which models, by their own announcements."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

LIVE_S: Final = 15  # seconds without an announcement after which a worker counts as gone
MAX_AGE_S: Final = 24 * 3600  # seconds after which it is forgotten


@dataclass(frozen=True, slots=True)
class WorkerBeat:
    """What a worker says of itself. `id` is new for every start; `rows` are decoded together at most.

    `status` is loading, ready or stopping. `drafters` are known once it is ready; `note` says why some are missing.
    """

    id: str
    name: str
    host: str
    pid: int
    model: str
    device: str
    device_kind: str
    dtype: str
    rows: int
    status: str
    drafters: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as last heard of."""

    id: str
    name: str
    host: str
    pid: int
    model: str
    device: str
    device_kind: str
    dtype: str
    rows: int
    status: str
    drafters: tuple[str, ...]
    note: str | None
    is_live: bool
    started_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class FleetCount:
    """Live workers by what they do: `ready` ones decode, `loading` ones load, measure or start again."""

    ready: int
    loading: int


ANNOUNCE: Final = text("""
INSERT INTO workers (id, name, host, pid, model, device, device_kind, dtype, rows, status, drafters, note)
VALUES (:id, :name, :host, :pid, :model, :device, :device_kind, :dtype, :rows, :status, :drafters, :note)
ON CONFLICT (id) DO UPDATE
SET name = :name, host = :host, pid = :pid, model = :model, device = :device, device_kind = :device_kind,
    dtype = :dtype, rows = :rows, status = :status, drafters = :drafters, note = :note,
    last_seen_at = statement_timestamp()
""")

COUNT: Final = text("""
SELECT count(*) FILTER (WHERE status = 'ready') AS ready, count(*) FILTER (WHERE status = 'loading') AS loading
FROM workers WHERE last_seen_at > statement_timestamp() - make_interval(secs => :live_s)
""")

LEAVE: Final = text("DELETE FROM workers WHERE id = :id")

LIST: Final = text("""
SELECT id, name, host, pid, model, device, device_kind, dtype, rows, status, drafters, note,
       last_seen_at > statement_timestamp() - make_interval(secs => :live_s) AS is_live, started_at, last_seen_at
FROM workers
WHERE CAST(:model AS text) IS NULL OR model = :model
ORDER BY name, started_at, id
""")

FORGET: Final = text("""
DELETE FROM workers WHERE last_seen_at < statement_timestamp() - make_interval(secs => :max_age_s)
""")


def announce(session: Session, beat: WorkerBeat) -> None:
    """Say that the worker is there, as it is now. Its first announcement is its start."""
    session.execute(ANNOUNCE, asdict(beat) | {"drafters": list(beat.drafters)})


def leave(session: Session, worker_id: str) -> None:
    """Say that the worker has stopped in good order: it disappears from the list."""
    session.execute(LEAVE, {"id": worker_id})


def list_workers(session: Session, *, model: str | None = None) -> list[WorkerView]:
    """Workers heard of within a day, by name."""
    rows = session.execute(LIST, {"model": model, "live_s": LIVE_S})
    return [WorkerView(**{**row._mapping, "drafters": tuple(row.drafters)}) for row in rows]


def count_workers(session: Session) -> FleetCount:
    """How many workers are heard of and serve, or are about to."""
    row = session.execute(COUNT, {"live_s": LIVE_S}).one()
    return FleetCount(row.ready, row.loading)


def forget_workers(session: Session) -> None:
    """Delete workers that were not heard of for a day."""
    session.execute(FORGET, {"max_age_s": MAX_AGE_S})
