"""A request body to what the registry is asked to write: one head, and inputs that are read as they are written.

JSON Lines go through a temporary file: every line is checked before the transaction opens, so that nothing is half
accepted, no slow client holds a transaction, and memory stays constant.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from api import rules
from api.bodies import is_json_lines, read_json, read_lines
from api.errors import InvalidFields, Malformed, UnknownModel
from api.idempotency import fingerprint
from api.schemas.inputs import HEAD, INPUTS, JOB, AnyHead, AnyInput
from api.services import services
from api.validation import parse
from models.catalog import ModelView, get_model
from models.errors import NotFound
from models.submit import NewItem

SPOOL_BYTES = 1024 * 1024  # shorter bodies never touch the disk


@dataclass(frozen=True, slots=True)
class Submission:
    """A checked job. `items` can be read once."""

    head: AnyHead
    model: ModelView
    num_items: int
    items: Iterator[NewItem]
    fingerprint: str


@contextmanager
def read_submission() -> Iterator[Submission]:
    """The request's job, checked to the last input; raises ApiError naming the field and, for JSON Lines, the line."""
    if not is_json_lines():
        yield _read_object()
        return
    with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as spool:
        yield _read_lines(spool)


def _read_object() -> Submission:
    body = read_json()
    job = parse(JOB, body)
    _check_number(len(job.inputs), None)
    model = _model(job.model)
    rules.check_head(job, model)
    checks = rules.InputRules(job, model, services().lengths)
    inputs: Sequence[AnyInput] = job.inputs
    for index, given in enumerate(inputs):
        checks.check(given, index)
    return Submission(job, model, len(inputs), map(_item, inputs), fingerprint((body,)))


def _read_lines(spool: IO[bytes]) -> Submission:
    lines = read_lines()
    number, first = next(lines, (1, b""))
    head = parse(HEAD, first, line=number)
    model = _model(head.model)
    rules.check_head(head, model)
    num_items, digest = _spool(lines, spool, head, rules.InputRules(head, model, services().lengths))
    spool.seek(0)
    return Submission(head, model, num_items, map(_despool, spool), fingerprint((first, digest)))


def _spool(
    lines: Iterator[tuple[int, bytes]], spool: IO[bytes], head: AnyHead, checks: rules.InputRules
) -> tuple[int, bytes]:
    """Check every input and set it aside; returns how many there are and a digest of the lines."""
    schema = INPUTS[head.kind]
    digest = hashlib.sha256()
    index = -1
    for index, (number, line) in enumerate(lines):
        _check_number(index + 1, number)
        given = parse(schema, line, line=number)
        checks.check(given, index, number)
        digest.update(line)
        spool.write(json.dumps(given.model_dump(exclude_none=True)).encode() + b"\n")
    if index < 0:
        raise Malformed("at least one input has to follow the job's line", 2)
    return index + 1, digest.digest()


def _despool(line: bytes) -> NewItem:
    return _split(json.loads(line))


def _item(given: AnyInput) -> NewItem:
    return _split(given.model_dump(exclude_none=True))


def _split(given: dict[str, Any]) -> NewItem:
    return NewItem(custom_id=given.pop("custom_id", None), input=given)


def _check_number(num_items: int, line: int | None) -> None:
    limit = services().settings.max_inputs
    if num_items > limit:
        raise InvalidFields.of("inputs", f"more than {limit:,} inputs", line)


def _model(name: str) -> ModelView:
    with services().database.session() as session:
        try:
            return get_model(session, name)
        except NotFound as error:
            raise UnknownModel(name) from error
