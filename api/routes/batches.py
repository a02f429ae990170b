"""Batches: a file of requests, answered as one job in the bulk lane; output and error file are read under /v1/files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from typing import Final

from flask import Response
from sqlalchemy.orm import Session

from api import asking
from api.adapter import blueprint
from api.auth import auth, principal
from api.batch_input import Check
from api.batch_views import batch_answer
from api.conditional import dump
from api.errors import BeingChecked, Busy, NotCancellable, UnknownFile, UnusableFile
from api.hooks import origin_of_request
from api.idempotency import REPLAYED, fingerprint, key_of_request
from api.pieces import pieces
from api.schemas.batches import CHAT, BatchAnswer, BatchBody, BatchPage, seconds
from api.schemas.pages import Cursor
from api.services import services
from api.views import page_of
from models.batches import (
    BatchStatus,
    NewBatch,
    cancel_batch,
    drop_batch,
    get_batch,
    list_batches,
    open_batch,
    refuse_batch,
    renew,
    start_batch,
)
from models.catalog import ModelView
from models.database import Database
from models.errors import BatchEnded, FileNotFound
from models.files import FileView, get_file
from models.idempotency import take
from models.ids import new_id
from models.states import JobKind, Lane
from models.submit import NewJob
from models.tables.files import FilePurpose

routes = blueprint("batches", "Batches")

SPOOL_BYTES: Final = 1024 * 1024  # an input that is no longer is checked in memory, in passing
RETRY_S: Final = 5
RENEW_S: Final = 5.0  # how often a check says that it goes on


@routes.post("/v1/batches")
@routes.doc(
    responses={
        404: "Unknown file",
        409: "Still being checked",
        422: "Idempotency-Key used before",
        429: "Quota exceeded",
    }
)
@routes.auth_required(auth, roles=["jobs"])
@routes.input(BatchBody)
@routes.output(BatchAnswer)
def create_batch(json_data: BatchBody) -> Response:
    """Make a batch of an uploaded file.

    Every line is checked before anything runs. A batch with a bad line is `failed` at once, and its `errors` say what
    is wrong with which lines.
    """
    with services().checks.entered(principal().tenant_id) as has_place:
        batch_id, file = _open(json_data, has_place=has_place)
        if file is not None:
            _start(batch_id, json_data, file)
    headers = {REPLAYED: "true"} if file is None else {}
    return Response(dump(_read(batch_id)), headers=headers, content_type="application/json")


@routes.get("/v1/batches")
@routes.auth_required(auth, roles=["jobs"])
@routes.input(Cursor, location="query")
@routes.output(BatchPage)
def read_batches(query_data: Cursor) -> BatchPage:
    """List batches, newest first."""
    with services().database.session() as session:
        page = list_batches(session, principal().tenant_id, after=query_data.after, limit=query_data.limit)
    return page_of(BatchPage, [batch_answer(view) for view in page.data], has_more=page.has_more)


@routes.get("/v1/batches/<id:batch_id>")
@routes.auth_required(auth, roles=["jobs"])
@routes.output(BatchAnswer)
def read_batch(batch_id: str) -> BatchAnswer:
    """Read a batch."""
    return _read(batch_id)


@routes.post("/v1/batches/<id:batch_id>/cancel")
@routes.doc(responses={400: "It has ended"})
@routes.auth_required(auth, roles=["jobs"])
@routes.output(BatchAnswer)
def cancel_a_batch(batch_id: str) -> BatchAnswer:
    """Call a batch off: nothing new starts, and what has been answered is kept in the output file."""
    try:
        with services().database.session() as session:
            cancel_batch(session, principal().tenant_id, batch_id)
    except BatchEnded as error:
        raise NotCancellable(str(error)) from error
    return _read(batch_id)


def _find_input(session: Session, file_id: str) -> FileView:
    try:
        file = get_file(session, principal().tenant_id, file_id)
    except FileNotFound as error:
        raise UnknownFile(file_id) from error
    if file.purpose is not FilePurpose.BATCH:
        raise UnusableFile(f"{file_id} has purpose {file.purpose.value}; a batch wants one of purpose batch")
    return file


def _open(body: BatchBody, *, has_place: bool) -> tuple[str, FileView | None]:
    """Note the batch; its input is what has to be checked. None is for one that the first request with this key made.

    Raises:
        BeingChecked: the first request with this key is not through: its batch may still come to nothing.
        Busy: a new one that is long would have no place to be checked.
    """
    tenant_id, key, batch_id = principal().tenant_id, key_of_request(), new_id("batch")
    new = NewBatch(
        tenant_id=tenant_id,
        input_file_id=body.input_file_id,
        endpoint=body.endpoint,
        completion_window=body.completion_window,
        window_s=seconds(body.completion_window),
        metadata=dict(body.metadata or {}),
        idempotency_key=key,
    )
    with services().database.session() as session:
        if key is not None:
            first_id = take(session, tenant_id, key, fingerprint((body.model_dump_json().encode(),)), batch_id)
            if first_id != batch_id:
                _check_settled(session, first_id)
                return first_id, None
        file = _find_input(session, body.input_file_id)
        is_short = file.num_bytes is not None and file.num_bytes <= SPOOL_BYTES
        if not (has_place or is_short):
            raise Busy("too many batches are being checked", retry_after_s=RETRY_S)
        return open_batch(session, new, batch_id=batch_id), file


def _check_settled(session: Session, batch_id: str) -> None:
    if get_batch(session, principal().tenant_id, batch_id).status is BatchStatus.VALIDATING:
        raise BeingChecked(f"{batch_id}, made with this key, is still being checked", retry_after_s=RETRY_S)


def _start(batch_id: str, body: BatchBody, file: FileView) -> None:
    """Make the batch's job or refuse the batch; where that cannot be done, nothing is left of it."""
    try:
        _check(batch_id, body, file)
    except Exception:
        with services().database.session() as session:
            drop_batch(session, batch_id)
        raise


def _check(batch_id: str, body: BatchBody, file: FileView) -> None:
    """Check every line, then make the job or refuse the batch."""
    database = services().database
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        settings, lengths = services().settings, services().lengths
        check = Check(database, body.endpoint, settings.max_inputs, settings.chat_tokens, lengths, spool)
        check.read(_renewing(database, batch_id, pieces(database, file)))
        if check.model is None or check.errors:
            with database.session() as session:
                refuse_batch(session, batch_id, check.errors)
            return
        new = _job(body, check.model, check)
        expiry = body.output_expires_after
        with database.session() as session:
            start_batch(session, batch_id, new, check.items(), keep_s=None if expiry is None else expiry.seconds)
    services().bell.ring(new.model, new.lane)


def _renewing(database: Database, batch_id: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces. Between them the registry is told that the check goes on: whoever dies stops saying so."""
    renewed_at = time.monotonic()
    for chunk in chunks:
        if time.monotonic() >= renewed_at + RENEW_S:
            with database.statement() as session:
                renew(session, batch_id)
            renewed_at = time.monotonic()
        yield chunk


def _job(body: BatchBody, model: ModelView, check: Check) -> NewJob:
    return NewJob(
        tenant_id=principal().tenant_id,
        kind=JobKind.GENERATE,
        model=model.name,
        lane=Lane.BULK,
        parameters=asking.defaults(model, is_chat=body.endpoint == CHAT, chat_tokens=None) | check.largest,
        decoding=asking.DECODING,
        options={"mean_tokens": check.num_tokens / check.num_items},  # which a quota counts
        metadata=dict(body.metadata or {}),
        deadline_s=seconds(body.completion_window),
        origin=origin_of_request(),
    )


def _read(batch_id: str) -> BatchAnswer:
    with services().database.session() as session:
        return batch_answer(get_batch(session, principal().tenant_id, batch_id))
