"""Files: written in one transaction, read chunk by chunk, always in the name of a tenant.

A rendered file (a batch's output) is there once its job has ended with items for it. Files past their date are gone for
readers at once, and from the disk with a sweep.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from sqlalchemy import Row, delete, insert, text, update
from sqlalchemy.orm import Session

from models.copying import copying
from models.errors import FileNotFound
from models.ids import new_id
from models.page import Page, page_of
from models.retention import IS_KEPT, KEEP_S
from models.tables import File
from models.tables.files import FilePurpose, Part

CHUNK_BYTES: Final = 256 * 1024

COPY_CHUNKS: Final = "COPY file_chunks (file_id, number, data) FROM STDIN (FORMAT BINARY)"


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to keep for `keep_s` seconds."""

    tenant_id: str
    filename: str
    purpose: FilePurpose
    keep_s: int = KEEP_S


@dataclass(frozen=True, slots=True)
class FileView:
    """A file. `num_bytes` is None for a rendered one that nobody has measured yet, or only `items_measured` of it."""

    id: str
    filename: str
    purpose: FilePurpose
    num_bytes: int | None
    items_measured: int
    bytes_measured: int
    job_id: str | None
    part: Part | None
    created_at: datetime
    expires_at: datetime | None


# What its owner can see: a rendered file is born when its job ends, if any item belongs into it, and goes with it.
VISIBLE: Final = f"""
SELECT * FROM (
    SELECT files.id, files.filename, files.purpose, files.num_bytes, files.items_measured, files.bytes_measured,
        files.job_id, files.part, files.tenant_id,
        coalesce(jobs.finished_at, files.created_at) AS created_at,
        least(coalesce(files.expires_at, jobs.finished_at + make_interval(secs => files.keep_s)), jobs.delete_at)
            AS expires_at
    FROM files LEFT JOIN jobs ON jobs.id = files.job_id
    WHERE files.part IS NULL OR {IS_KEPT} AND CASE files.part
        WHEN 'output' THEN (jobs.counts ->> 'succeeded')::int > 0
        ELSE (jobs.counts ->> 'succeeded')::int < (jobs.counts ->> 'total')::int
    END
) AS files
WHERE tenant_id = :tenant_id AND (expires_at IS NULL OR expires_at > statement_timestamp())
"""

GET: Final = text(f"{VISIBLE} AND id = :id")

LIST: Final = {
    order: text(
        f"{VISIBLE} AND (CAST(:after AS text) IS NULL OR id {sign} :after)"
        f" AND (CAST(:purpose AS text) IS NULL OR purpose = :purpose) ORDER BY id {order} LIMIT :limit"
    )
    for order, sign in (("asc", ">"), ("desc", "<"))
}

# Of two who measure at once the one who has come further is believed.
MEASURED: Final = text("""
UPDATE files SET items_measured = :num_items, bytes_measured = :num_bytes,
    num_bytes = CASE WHEN :is_whole THEN :num_bytes END
WHERE id = :id AND num_bytes IS NULL AND items_measured < :num_items
""")

READ: Final = text("SELECT data FROM file_chunks WHERE file_id = :id AND number = :number")


def add_file(session: Session, new: NewFile, chunks: Iterable[bytes], *, file_id: str | None = None) -> FileView:
    """Write a file from its pieces, each of `CHUNK_BYTES` but the last; memory does not grow with their number."""
    file_id = file_id or new_id("file")
    values = {"id": file_id, "tenant_id": new.tenant_id, "filename": new.filename, "purpose": new.purpose}
    expires_at = text("statement_timestamp() + make_interval(secs => :keep_s)").bindparams(keep_s=new.keep_s)
    session.execute(insert(File).values(**values, num_bytes=0, expires_at=expires_at))
    num_bytes = _copy(session, file_id, chunks)
    session.execute(update(File).where(File.id == file_id).values(num_bytes=num_bytes))
    return get_file(session, new.tenant_id, file_id)


def get_file(session: Session, tenant_id: str, file_id: str) -> FileView:
    """One file. Raises FileNotFound."""
    row = session.execute(GET, {"tenant_id": tenant_id, "id": file_id}).one_or_none()
    if row is None:
        raise FileNotFound(file_id)
    return _view(row)


def list_files(
    session: Session,
    tenant_id: str,
    *,
    after: str | None = None,
    limit: int = 100,
    purpose: FilePurpose | None = None,
    is_ascending: bool = False,
) -> Page[FileView]:
    """Files of the tenant by age, newest first unless told otherwise, from the one after id `after`."""
    values = {"tenant_id": tenant_id, "after": after, "purpose": purpose, "limit": limit + 1}
    rows = session.execute(LIST["asc" if is_ascending else "desc"], values)
    return page_of([_view(row) for row in rows], limit)


def read_chunk(session: Session, file_id: str, number: int) -> bytes | None:
    """A piece of an uploaded file; None where there is none."""
    data: bytes | None = session.execute(READ, {"id": file_id, "number": number}).scalar()
    return data


def note_measured(session: Session, file_id: str, num_items: int, num_bytes: int, *, is_whole: bool) -> None:
    """Keep how long a rendered file is, which never changes, or how long it is up to its first `num_items` items."""
    values = {"id": file_id, "num_items": num_items, "num_bytes": num_bytes, "is_whole": is_whole}
    session.execute(MEASURED, values)


def delete_file(session: Session, tenant_id: str, file_id: str) -> None:
    """Erase a file; of a rendered one only the entry, the items stay with their job. Raises FileNotFound."""
    get_file(session, tenant_id, file_id)
    session.execute(delete(File).where(File.id == file_id))


def _copy(session: Session, file_id: str, chunks: Iterable[bytes]) -> int:
    num_bytes = 0
    with copying(session, COPY_CHUNKS) as copy:
        copy.set_types(["text", "int4", "bytea"])
        for number, chunk in enumerate(chunks):
            copy.write_row((file_id, number, psycopg.Binary(chunk)))
            num_bytes += len(chunk)
    return num_bytes


def _view(row: Row[Any]) -> FileView:
    values = {name: getattr(row, name) for name in FileView.__slots__}
    part = None if row.part is None else Part(row.part)
    return FileView(**values | {"purpose": FilePurpose(row.purpose), "part": part})
