"""The output and the error file of a batch, made from its items as they are read: nothing is stored twice."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from api.conditional import dump
from api.errors import Busy
from api.results import pages
from api.schemas.batches import CHAT
from api.services import services
from api.wire import output_line
from models.batches import endpoint_of
from models.database import Database
from models.errors import FileNotFound, JobNotFound
from models.files import FileView, note_measured
from models.items import ItemView
from models.jobs import JobView, get_job
from models.states import ItemStatus
from models.tables.files import Part

RETRY_S: Final = 1


def lines(database: Database, tenant_id: str, job_id: str, part: Part) -> Iterator[bytes]:
    """The file's lines; between pages no connection is held, so a slow reader holds up nobody.

    Raises:
        JobNotFound: the job was erased meanwhile; what was read must not pass for the whole file.
    """
    job, endpoint = _origin(database, tenant_id, job_id)
    for page in pages(database, tenant_id, job_id):
        yield from _lines(job, endpoint, part, page)


def size_of(tenant_id: str, file: FileView, until: float) -> int:
    """The bytes of a file. A rendered one is measured by whoever asks first: a page of its items, and as many more as
    there is time for until `until` (monotonic).

    Raises:
        FileNotFound: the job of a rendered one is gone.
        Busy: there was no time for all of it; whoever asks next goes on where this ended.
    """
    if file.num_bytes is not None:
        return file.num_bytes
    if file.job_id is None or file.part is None:
        raise ValueError(f"{file.id} is neither uploaded nor rendered")
    try:
        return _measure(services().database, tenant_id, file, file.job_id, file.part, until)
    except JobNotFound as error:
        raise FileNotFound(file.id) from error


def _measure(database: Database, tenant_id: str, file: FileView, job_id: str, part: Part, until: float) -> int:
    job, endpoint = _origin(database, tenant_id, job_id)
    num_items, num_bytes = file.items_measured, file.bytes_measured
    for page in pages(database, tenant_id, job_id, num_read=num_items):
        num_items += len(page)
        num_bytes += sum(len(line) + 1 for line in _lines(job, endpoint, part, page))
        if time.monotonic() >= until:
            break
    is_whole = num_items == job.counts.total
    with database.session() as session:
        note_measured(session, file.id, num_items, num_bytes, is_whole=is_whole)
    if not is_whole:
        raise Busy(f"{file.id} is long, and its size not known yet", retry_after_s=RETRY_S)
    return num_bytes


def _origin(database: Database, tenant_id: str, job_id: str) -> tuple[JobView, str]:
    """The job, and the route that its requests were meant for."""
    with database.session() as session:
        return get_job(session, tenant_id, job_id), endpoint_of(session, job_id) or CHAT


def _lines(job: JobView, endpoint: str, part: Part, page: Sequence[ItemView]) -> Iterator[bytes]:
    """The items that belong into this part."""
    for item in page:
        if (item.status is ItemStatus.SUCCEEDED) == (part is Part.OUTPUT):
            yield dump(output_line(job, item, endpoint))
