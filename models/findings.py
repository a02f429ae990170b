"""Findings: searches as their owners see them, while they run and ever after, with every trial."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from models.errors import SearchNotFound
from models.page import Page, page_of
from models.states import Calibration, JobStatus, SearchOutcome, SearchPhase

Json = dict[str, Any]

STREAM_ROWS: Final = 1000  # trials read at a time


@dataclass(frozen=True, slots=True)
class Finding:
    """A search. `status` is its job's, None once that was erased; speeds are relative to plain decoding.

    `phase` is None before a worker has said anything, `outcome` until the search is settled; `note` says why nothing
    was promoted. `report` is what pictures are drawn from.
    """

    job_id: str
    model: str
    revision: str | None
    device_kind: str
    dtype: str
    batch_class: str
    num_layers: int
    status: JobStatus | None
    sampler: str
    max_trials: int
    max_seconds: float | None
    promotes: bool
    seed: int
    calibration: Calibration
    num_prompts: int
    study: str
    workers: int
    phase: SearchPhase | None
    num_trials: int
    best_speed: float | None
    best_bits: str | None
    device_seconds: Json
    outcome: SearchOutcome | None
    skip_set_id: str | None
    is_promoted: bool
    note: str | None
    finalist: Json | None
    report: Json | None
    created_at: datetime
    noted_at: datetime | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class TrialView:
    """A candidate and its score on `prompts` prompts, as the engine's trials have it."""

    number: int
    bits: str
    source: str
    prompts: int
    speed: float
    spread: float
    acceptance: float
    loss: float
    draft_length: int
    device_seconds: float
    created_at: datetime


COLUMNS: Final = ", ".join(
    {"num_layers": "models.num_layers", "status": "jobs.status"}.get(name, f"searches.{name}")
    for name in Finding.__slots__
)
FROM: Final = """FROM searches JOIN models ON models.name = searches.model
LEFT JOIN jobs ON jobs.id = searches.job_id"""

FIND: Final = text(f"SELECT {COLUMNS} {FROM} WHERE searches.job_id = ANY(CAST(:job_ids AS text[]))")

GET: Final = text(f"SELECT {COLUMNS} {FROM} WHERE searches.job_id = :job_id AND searches.tenant_id = :tenant_id")

OWN: Final = text("SELECT job_id FROM searches WHERE job_id = ANY(CAST(:job_ids AS text[])) AND tenant_id = :tenant_id")

LIST: Final = text(f"""
SELECT {COLUMNS} {FROM}
WHERE searches.tenant_id = :tenant_id AND (CAST(:model AS text) IS NULL OR searches.model = :model)
  AND (CAST(:after AS text) IS NULL OR searches.job_id < :after)
ORDER BY searches.job_id DESC LIMIT :limit
""")

TRIALS: Final = text(f"""
SELECT {", ".join(TrialView.__slots__)} FROM trials WHERE job_id = :job_id AND number > :after
ORDER BY number LIMIT :limit
""")


def get_finding(session: Session, tenant_id: str, job_id: str) -> Finding:
    """One search. Raises SearchNotFound."""
    row = session.execute(GET, {"tenant_id": tenant_id, "job_id": job_id}).one_or_none()
    if row is None:
        raise SearchNotFound(job_id)
    return _finding(row)


def own_searches(session: Session, tenant_id: str, job_ids: Collection[str]) -> frozenset[str]:
    """Those of the jobs that carried searches of the tenant."""
    return frozenset(session.scalars(OWN, {"tenant_id": tenant_id, "job_ids": list(job_ids)}))


def list_findings(
    session: Session, tenant_id: str, *, model: str | None = None, after: str | None = None, limit: int = 20
) -> Page[Finding]:
    """The tenant's searches, newest first, from the one after id `after`."""
    values = {"tenant_id": tenant_id, "model": model, "after": after, "limit": limit + 1}
    return page_of([_finding(row) for row in session.execute(LIST, values)], limit)


def findings_of(session: Session, job_ids: Sequence[str]) -> dict[str, Finding]:
    """The searches that jobs carry, by job; whose they are has been asked before."""
    found = session.execute(FIND, {"job_ids": list(job_ids)}) if job_ids else ()
    return {row.job_id: _finding(row) for row in found}


def list_trials(
    session: Session, tenant_id: str, job_id: str, *, after: int | None = None, limit: int = 100
) -> Page[TrialView]:
    """Trials of a search in their order, from the one after number `after`. Raises SearchNotFound."""
    get_finding(session, tenant_id, job_id)
    return page_of(_trials(session, job_id, after, limit + 1), limit)


def stream_trials(session: Session, job_id: str) -> Iterator[TrialView]:
    """All trials, a few at a time; whose the search is has been asked before."""
    after: int | None = None
    while trials := _trials(session, job_id, after, STREAM_ROWS):
        yield from trials
        after = trials[-1].number


def _trials(session: Session, job_id: str, after: int | None, limit: int) -> list[TrialView]:
    values = {"job_id": job_id, "after": -1 if after is None else after, "limit": limit}
    return [TrialView(*row) for row in session.execute(TRIALS, values)]


def _finding(row: Row[Any]) -> Finding:
    values = dict(row._mapping)
    for name, kind in (
        ("status", JobStatus),
        ("phase", SearchPhase),
        ("outcome", SearchOutcome),
        ("calibration", Calibration),
    ):
        values[name] = None if values[name] is None else kind(values[name])
    return Finding(**values)
