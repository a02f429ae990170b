"""Reading a `multipart/form-data` upload: the file goes to disk as it arrives, so memory stays constant."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, Final

from flask import request
from werkzeug.formparser import FormDataParser

from api.bodies import FORM, body_stream
from api.errors import InvalidFields, Malformed, TooLarge, WrongMediaType
from api.idempotency import fingerprint
from api.schemas.files import UploadForm
from api.services import services
from api.validation import read_query
from models.files import CHUNK_BYTES

SPOOL_BYTES: Final = 1024 * 1024  # shorter files never touch the disk
FIELD_BYTES: Final = 256 * 1024  # of a field, and of what the parser holds at a time (it reads 64 KiB)
MAX_FIELDS: Final = 16


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has arrived whole. `file` stands at its beginning."""

    form: UploadForm
    filename: str
    file: IO[bytes]
    digest: bytes

    def chunks(self) -> Iterator[bytes]:
        """The file in pieces."""
        return iter(lambda: self.file.read(CHUNK_BYTES), b"")

    @property
    def fingerprint(self) -> str:
        """Equal for equal uploads, whatever separates their parts."""
        return fingerprint((self.form.model_dump_json().encode(), self.filename.encode(), self.digest))


@contextmanager
def read_upload() -> Iterator[Upload]:
    """The upload of this request; its file is gone with the block.

    Raises:
        WrongMediaType, Malformed, InvalidFields, TooLarge, and what `api.bodies.BodyStream` raises.
    """
    if request.mimetype != FORM:
        raise WrongMediaType(f"send {FORM}, not {request.mimetype or 'a body without a content type'}")
    with ExitStack() as opened:

        def spool(*_: Any, **__: Any) -> IO[bytes]:
            return opened.enter_context(tempfile.SpooledTemporaryFile(SPOOL_BYTES))

        parser = FormDataParser(spool, max_form_memory_size=FIELD_BYTES, max_form_parts=MAX_FIELDS, silent=False)
        try:
            _, fields, files = parser.parse(body_stream(), FORM, request.content_length, request.mimetype_params)
        except ValueError as error:
            raise Malformed(f"not a form: {error}") from error
        if None in fields:  # whatever its types say
            raise Malformed("not a form: a part has no name")
        form = read_query(UploadForm, _nested(fields.to_dict()))
        if list(files) != ["file"] or len(files.getlist("file")) != 1:
            raise InvalidFields.of("file", "exactly one part named `file` with a filename is required")
        stored = files["file"]
        yield Upload(form, _filename(stored.filename), stored.stream, _measure(stored.stream))


def _nested(fields: dict[str, str]) -> dict[str, Any]:
    """`expires_after[seconds]` as clients write it, as a member of `expires_after`; raises InvalidFields."""
    nested: dict[str, Any] = {}
    for name, value in fields.items():
        outer, _, inner = name.partition("[")
        place, key = (nested.setdefault(outer, {}), inner[:-1]) if inner.endswith("]") else (nested, name)
        if not isinstance(place, dict) or key in place:
            raise InvalidFields.of(outer, "is given twice, whole and in parts")
        place[key] = value
    return nested


def _filename(given: str | None) -> str:
    """The last part of a path, without characters that are no text."""
    name = PurePosixPath((given or "").replace("\\", "/")).name
    text = "".join(one if one.isprintable() else "_" for one in name)[:255]
    return "file" if text in ("", "..") else text


def _measure(file: IO[bytes]) -> bytes:
    """The file's SHA-256; leaves it at its beginning."""
    limit = services().settings.max_stream_bytes
    digest, num_bytes = hashlib.sha256(), 0
    for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
        digest.update(chunk)
        num_bytes += len(chunk)
    if num_bytes > limit:
        raise TooLarge(f"the file is over the limit of {limit // 2**20} MiB")
    if num_bytes == 0:
        raise InvalidFields.of("file", "the file is empty")
    file.seek(0)
    return digest.digest()
