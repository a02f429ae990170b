"""The output and the error file of a batch, made from its items as they are read: nothing is stored twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from api.conditional import dump
from api.schemas.batches import CHAT
from api.services import services
from api.wire import output_line
from models.batches import endpoint_of
from models.database import Database
from models.errors import FileNotFound, JobNotFound
from models.files import FileView, note_size
from models.items import ItemView, list_items
from models.jobs import get_job
from models.states import ItemStatus
from models.tables.files import Part

PAGE: Final = 200  # items read at a time


def lines(database: Database, tenant_id: str, job_id: str, part: Part) -> Iterator[bytes]:
    """The file's lines; between pages no connection is held, so a slow reader holds up nobody."""
    with database.session() as session:
        job = get_job(session, tenant_id, job_id)
        endpoint = endpoint_of(session, job_id) or CHAT
    for item in _items(database, tenant_id, job_id):
        if (item.status is ItemStatus.SUCCEEDED) == (part is Part.OUTPUT):
            yield dump(output_line(job, item, endpoint))


def size_of(tenant_id: str, file: FileView) -> int:
    """The bytes of a file; a rendered one is measured by whoever asks first.

    Raises FileNotFound for a rendered one whose job is gone.
    """
    if file.num_bytes is not None:
        return file.num_bytes
    if file.job_id is None or file.part is None:
        raise ValueError(f"{file.id} is neither uploaded nor rendered")
    database = services().database
    try:
        num_bytes = sum(len(line) + 1 for line in lines(database, tenant_id, file.job_id, file.part))
    except JobNotFound as error:
        raise FileNotFound(file.id) from error
    with database.session() as session:
        note_size(session, file.id, num_bytes)
    return num_bytes


def _items(database: Database, tenant_id: str, job_id: str) -> Iterator[ItemView]:
    after: int | None = None
    has_more = True
    while has_more:
        with database.session() as session:
            page = list_items(session, tenant_id, job_id, after=after, limit=PAGE)
        yield from page.data
        has_more = page.has_more
        after = page.data[-1].index if page.data else after
