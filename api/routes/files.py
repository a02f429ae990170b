"""Files: upload, list, read, erase. The input of batches, and their output."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

from flask import Response

from api.adapter import blueprint
from api.auth import auth, principal
from api.conditional import dump
from api.documentation import FILE_BODY, FILE_CONTENT
from api.errors import Busy
from api.idempotency import REPLAYED, key_of_request
from api.pieces import pieces
from api.rendering import lines, size_of
from api.schemas.files import Deleted, FileAnswer, FileCursor, FilePage
from api.services import services
from api.streams import stream, stream_chunks
from api.uploads import Upload, read_upload
from api.views import page_of
from models.database import Database
from models.errors import FileNotFound
from models.files import FileView, NewFile, add_file, delete_file, get_file, list_files
from models.idempotency import take
from models.ids import new_id
from models.retention import KEEP_S
from models.tables.files import FilePurpose, Part

routes = blueprint("files", "Files")

MAX_PAGE: Final = 1000
MEASURING: Final = "A long output is being measured"
MEASURE_S: Final = 5.0  # that a request measures outputs of batches before it answers with what it has


@routes.post("/v1/files")
@routes.doc(
    responses={413: "Too large", 415: "No form", 422: "Idempotency-Key used before"},
    extensions={"requestBody": FILE_BODY},
)
@routes.auth_required(auth, roles=["jobs"])
@routes.output(FileAnswer)
def create_file() -> Response:
    """Upload a file, as a form. It is kept for 30 days unless `expires_after` says otherwise."""
    with read_upload() as given:
        view, is_new = _store(given)
    headers = {} if is_new else {REPLAYED: "true"}
    return Response(dump(_answer(view, time.monotonic())), headers=headers, content_type="application/json")


@routes.get("/v1/files")
@routes.doc(responses={503: MEASURING})
@routes.auth_required(auth, roles=["jobs"])
@routes.input(FileCursor, location="query")
@routes.output(FilePage)
def read_files(query_data: FileCursor) -> FilePage:
    """List files, newest first. A page may be shorter than asked for: `has_more` says whether it is the last."""
    if query_data.purpose is not None and query_data.purpose not in list(FilePurpose):
        return page_of(FilePage, [], has_more=False)
    with services().database.session() as session:
        page = list_files(
            session,
            principal().tenant_id,
            after=query_data.after,
            limit=min(query_data.limit, MAX_PAGE),
            purpose=None if query_data.purpose is None else FilePurpose(query_data.purpose),
            is_ascending=query_data.order == "asc",
        )
    answers, is_whole = _answers(page.data)
    return page_of(FilePage, answers, has_more=page.has_more or not is_whole)


@routes.get("/v1/files/<id:file_id>")
@routes.doc(responses={503: MEASURING})
@routes.auth_required(auth, roles=["jobs"])
@routes.output(FileAnswer)
def read_file(file_id: str) -> FileAnswer:
    """Read what is known of a file."""
    return _answer(_get(file_id), time.monotonic() + MEASURE_S)


@routes.get("/v1/files/<id:file_id>/content")
@routes.doc(responses=FILE_CONTENT)
@routes.auth_required(auth, roles=["jobs"])
def read_content(file_id: str) -> Response:
    """Read a file itself, streamed."""
    file, gate, database = _get(file_id), services().gate, services().database
    if file.job_id is not None and file.part is not None:
        tenant_id, job_id, part = principal().tenant_id, file.job_id, file.part
        response = stream(gate, lambda: _rendered(database, tenant_id, job_id, part))
    else:
        response = stream_chunks(gate, pieces(database, file), "application/octet-stream")
        response.headers["Content-Length"] = str(file.num_bytes)
    response.headers.set("Content-Disposition", "attachment", **_names(file.filename))
    return response


@routes.delete("/v1/files/<id:file_id>")
@routes.auth_required(auth, roles=["jobs"])
@routes.output(Deleted)
def erase_file(file_id: str) -> Deleted:
    """Erase a file. A batch that was made from it goes on; of a batch's output the items stay with their job."""
    with services().database.session() as session:
        delete_file(session, principal().tenant_id, file_id)
    return Deleted(id=file_id)


def _store(given: Upload) -> tuple[FileView, bool]:
    """Write the file, or find the one that the first request with this key wrote."""
    tenant_id, key = principal().tenant_id, key_of_request()
    expiry = given.form.expires_after
    keep_s = KEEP_S if expiry is None else expiry.seconds
    new = NewFile(tenant_id, given.filename, FilePurpose(given.form.purpose), keep_s)
    file_id = new_id("file")
    with services().database.session() as session:
        if key is not None:
            first_id = take(session, tenant_id, key, given.fingerprint, file_id)
            if first_id != file_id:
                return get_file(session, tenant_id, first_id), False
        return add_file(session, new, given.chunks(), file_id=file_id), True


def _get(file_id: str) -> FileView:
    with services().database.session() as session:
        return get_file(session, principal().tenant_id, file_id)


def _answers(views: Sequence[FileView]) -> tuple[list[FileAnswer], bool]:
    """Those that are still there, and whether these are all: what takes long to measure is left to the next page.

    Raises Busy where that is the first already.
    """
    until = time.monotonic() + MEASURE_S
    answers: list[FileAnswer] = []
    for view in views:
        if answers and time.monotonic() >= until:
            return answers, False
        try:
            answers.append(_answer(view, until))
        except FileNotFound:
            continue
        except Busy:
            if not answers:
                raise
            return answers, False
    return answers, True


def _answer(view: FileView, until: float) -> FileAnswer:
    return FileAnswer(
        id=view.id,
        bytes=size_of(principal().tenant_id, view, until),
        created_at=view.created_at,
        expires_at=view.expires_at,
        filename=view.filename,
        purpose=view.purpose.value,
    )


def _names(filename: str) -> dict[str, str]:
    """The name as headers can hold it: in ASCII, and beside that as it is where it has other characters (RFC 6266)."""
    if filename.isascii():
        return {"filename": filename}
    plain = "".join(one if one.isascii() else "_" for one in filename)
    return {"filename": plain, "filename*": f"UTF-8''{quote(filename, safe='')}"}


@contextmanager
def _rendered(database: Database, tenant_id: str, job_id: str, part: Part) -> Iterator[Iterable[bytes]]:
    yield lines(database, tenant_id, job_id, part)
