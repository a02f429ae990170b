"""Submit: one transaction writes the job, its items, its shards and the idempotency record.

Items stream from an iterator into COPY, so memory does not grow with the job.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from models.copying import copying
from models.errors import DuplicateCustomId, ModelNotFound, NoItems, UnstorableText
from models.faults import Point, reach
from models.idempotency import take
from models.ids import new_id
from models.notify import notify
from models.quota import check_quota
from models.states import JobKind, Lane

Json = dict[str, Any]

SHARD_ITEMS: Final = 16
LINE: Final = re.compile(r"COPY items, line (\d+)")


@dataclass(frozen=True, slots=True)
class NewItem:
    """One input. `custom_id` is the client's name for it, unique in the job."""

    custom_id: str | None
    input: Json


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job as the client wants it: defaults filled in, the seed drawn. `deadline_s` counts from now."""

    tenant_id: str
    kind: JobKind
    model: str
    lane: Lane
    parameters: Json = field(default_factory=dict)
    decoding: Json = field(default_factory=dict)
    options: Json = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)
    deadline_s: float | None = None
    webhook_url: str | None = None
    retry_of: str | None = None
    keep_s: int | None = None  # after its end; as long as usual when left out
    origin: Json = field(default_factory=dict)  # ids of the request that makes it, for logs and spans
    idempotency_key: str | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """`created` is False when an earlier request with the same idempotency key made the job."""

    job_id: str
    created: bool


MODEL_EXISTS: Final = text("SELECT 1 FROM models WHERE name = :model")

INSERT_JOB: Final = text("""
INSERT INTO jobs (id, tenant_id, kind, model, lane, parameters, decoding, options, metadata, num_items, webhook_url,
                  retry_of, keep_s, origin, expires_at)
VALUES (:id, :tenant_id, :kind, :model, :lane, CAST(:parameters AS jsonb), CAST(:decoding AS jsonb),
        CAST(:options AS jsonb), CAST(:metadata AS jsonb), 0, :webhook_url, :retry_of, :keep_s,
        CAST(:origin AS jsonb),
        statement_timestamp() + make_interval(secs => CAST(:deadline_s AS double precision)))
""")

DOCUMENTS: Final = ("parameters", "decoding", "options", "metadata", "origin")

COPY_ITEMS: Final = "COPY items (job_id, index, shard_number, custom_id, input) FROM STDIN"

# After the items, because only now their number is known.
INSERT_SHARDS: Final = text("""
WITH job AS (
    UPDATE jobs SET num_items = :num_items WHERE id = :job_id RETURNING id, model, lane, tenant_id, created_at
)
INSERT INTO shards (job_id, number, first, last, model, lane, tenant_id, created_at)
SELECT id, number, number * :size, least((number + 1) * :size, :num_items) - 1, model, lane, tenant_id, created_at
FROM job, generate_series(0, (:num_items - 1) / :size) AS number
""")


def submit(session: Session, new_job: NewJob, items: Iterable[NewItem], *, shard_items: int = SHARD_ITEMS) -> Submitted:
    """Write a job of `items` (iterated once, not at all on a replay), cut into shards of `shard_items`.

    After any exception, the iterator's own included, the transaction must be rolled back: nothing is half accepted.

    Raises:
        ModelNotFound, NoItems, DuplicateCustomId, UnstorableText, QuotaExceeded
        IdempotencyMismatch: the idempotency key came with another fingerprint.
    """
    job_id = new_id("job")
    if new_job.idempotency_key is not None:
        first_id = take(session, new_job.tenant_id, new_job.idempotency_key, new_job.fingerprint, job_id)
        if first_id != job_id:
            return Submitted(first_id, created=False)
    if session.execute(MODEL_EXISTS, {"model": new_job.model}).first() is None:
        raise ModelNotFound(new_job.model)
    _insert_job(session, job_id, new_job)
    reach(Point.SUBMIT_JOB)
    num_items = _copy_items(session, job_id, items, shard_items)
    reach(Point.SUBMIT_ITEMS)
    if num_items == 0:
        raise NoItems
    session.execute(INSERT_SHARDS, {"job_id": job_id, "num_items": num_items, "size": shard_items})
    check_quota(session, new_job.tenant_id)
    notify(session, job_id)
    reach(Point.SUBMIT_WRITTEN)
    return Submitted(job_id, created=True)


def _insert_job(session: Session, job_id: str, new_job: NewJob) -> None:
    documents = {name: json.dumps(getattr(new_job, name)) for name in DOCUMENTS}
    values = {
        "id": job_id,
        "tenant_id": new_job.tenant_id,
        "kind": new_job.kind.value,
        "model": new_job.model,
        "lane": new_job.lane.value,
        "webhook_url": new_job.webhook_url,
        "retry_of": new_job.retry_of,
        "keep_s": new_job.keep_s,
        "deadline_s": new_job.deadline_s,
    }
    try:
        session.execute(INSERT_JOB, values | documents)
    except DataError as error:
        raise UnstorableText(None) from error


def _copy_items(session: Session, job_id: str, items: Iterable[NewItem], shard_items: int) -> int:
    """Stream the items in; returns how many there were."""
    index = -1
    try:
        with copying(session, COPY_ITEMS) as copy:
            for index, item in enumerate(items):
                # ASCII escapes leave NUL and surrogates to the server, which tells the line.
                row = (job_id, index, index // shard_items, item.custom_id, json.dumps(item.input))
                copy.write_row(row)
    except psycopg.errors.UniqueViolation as error:
        raise DuplicateCustomId(_repeated(error, job_id)) from error
    except (psycopg.DataError, UnicodeEncodeError) as error:
        raise UnstorableText(_line(error, index)) from error
    return index + 1


def _repeated(error: psycopg.Error, job_id: str) -> str:
    """The custom id in `Key (job_id, custom_id)=(job_..., VALUE) already exists.`"""
    _, _, rest = (error.diag.message_detail or "").partition(f"=({job_id}, ")
    return rest.rpartition(")")[0]


def _line(error: Exception, index: int) -> int:
    """The index of the item that the server (`COPY items, line 3, ...`) or the driver, at `index`, refused."""
    context = error.diag.context if isinstance(error, psycopg.Error) else None
    found = LINE.search(context or "")
    return int(found[1]) - 1 if found else index
