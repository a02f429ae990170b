"""Checking a batch's input file: every line, before anything of it runs. Each fault says its line.

Good lines are set aside as items in a temporary file, so memory does not grow with the batch.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Final

from pydantic import TypeAdapter

from api import asking
from api.bodies import BUFFER_BYTES, numbered
from api.errors import InvalidFields, Malformed, TooLong
from api.lengths import Lengths
from api.schemas.batches import CHAT, TEXT, ChatLine, TextLine
from api.validation import parse
from models.catalog import ModelView, get_model
from models.database import Database
from models.errors import FileNotFound, ModelNotFound
from models.submit import NewItem

MAX_ERRORS: Final = 100  # told; after so many nobody reads on

AnyLine = ChatLine | TextLine
LINES: Final[dict[str, TypeAdapter[AnyLine]]] = {CHAT: TypeAdapter(ChatLine), TEXT: TypeAdapter(TextLine)}

# What is wrong, by the field that is.
CODES: Final = {
    "custom_id": "invalid_custom_id",
    "method": "invalid_method",
    "url": "invalid_url",
    "body.stream": "stream_not_supported",
}


SIZES: Final = ("max_tokens", "n", "logprobs")  # that an item's size depends on
OWN: Final = (*SIZES, "fill_context")  # what every item says for itself


class BadLine(Exception):
    """A line that cannot be a request."""

    def __init__(self, code: str, message: str, param: str | None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class Chunks(io.RawIOBase):
    """Pieces of any size as one stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # typeshed names no narrower type
        """Fill the buffer from one piece; 0 at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


@dataclass(slots=True)
class Check:
    """What is known of a batch's lines so far. Good ones are written to `spool`.

    `largest` is what the job's own parameters have to say: whoever reads its items plans by the largest of them.
    `num_tokens` are those that all their outputs may have.
    """

    database: Database
    endpoint: str
    max_lines: int
    chat_tokens: int | None
    lengths: Lengths
    spool: IO[bytes]
    model: ModelView | None = None
    num_items: int = 0
    num_tokens: int = 0
    largest: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(SIZES))
    errors: list[dict[str, Any]] = field(default_factory=list)
    _seen: dict[str, int] = field(default_factory=dict)  # custom id: its line
    _asked: str | None = None  # the model of the first line that names one

    def read(self, chunks: Iterator[bytes]) -> None:
        """Check every line, up to `MAX_ERRORS` bad ones."""
        number = 0
        try:
            for number, data in numbered(io.BufferedReader(Chunks(chunks), BUFFER_BYTES)):
                self._try(data, number)
                if len(self.errors) >= MAX_ERRORS:
                    return
        except Malformed as error:
            self._tell("invalid_line", error.faults[0].message, error.faults[0].line)
        except FileNotFound:
            self._tell("file_not_found", "the file was erased while it was checked", None, "input_file_id")
        if number == 0 and not self.errors:
            self._tell("empty_file", "the file has no line", None)

    def items(self) -> Iterator[NewItem]:
        """The good lines as items."""
        self.spool.seek(0)
        for line in self.spool:
            custom_id, given = json.loads(line)
            yield NewItem(custom_id, given)

    def _try(self, data: bytes, number: int) -> None:
        try:
            self._keep(self._parse(data, number), number)
        except BadLine as error:
            self._tell(error.code, error.message, number, error.param)

    def _parse(self, data: bytes, number: int) -> AnyLine:
        try:
            return parse(LINES[self.endpoint], data)
        except Malformed as error:
            raise BadLine("invalid_json_line", error.message, None) from None
        except InvalidFields as error:
            first = error.faults[0]
            raise BadLine(_code(first.field), str(error), first.field) from None

    def _keep(self, line: AnyLine, number: int) -> None:
        if number > self.max_lines:
            raise BadLine("too_many_requests", f"more than {self.max_lines:,} requests", None)
        first = self._seen.setdefault(line.custom_id, number)
        if first != number:
            message = f"custom_id {line.custom_id!r} is that of line {first} already"
            raise BadLine("duplicate_custom_id", message, "custom_id")
        if line.body.stream:
            raise BadLine("stream_not_supported", "a request of a batch cannot be streamed", "body.stream")
        model = self._check_model(line)
        inputs = line.body.inputs()
        if len(inputs) != 1:
            raise BadLine("invalid_request", "one prompt a line; give the others lines of their own", "body.prompt")
        applied = asking.parameters(line.body, model, self.chat_tokens)
        self.largest = {name: _larger(applied[name], self.largest[name]) for name in SIZES}
        item = inputs[0] | {"parameters": asking.given(line.body) | {name: applied[name] for name in OWN}}
        self.spool.write(json.dumps((line.custom_id, item)).encode() + b"\n")
        self.num_items += 1
        self.num_tokens += applied["max_tokens"] * applied["n"]

    def _check_model(self, line: AnyLine) -> ModelView:
        name = line.body.model
        if self._asked is None:
            self._asked, self.model = name, self._find(name)
        if name != self._asked:
            message = f"all requests of a batch go to one model; this is {name}, the first was {self._asked}"
            raise BadLine("mismatched_model", message, "body.model")
        if self.model is None:
            raise BadLine("model_not_found", f"the model {name!r} is not registered", "body.model")
        try:
            asking.check(line.body, self.model, self.chat_tokens, prefix="body.")
            asking.check_lengths(line.body, self.model, self.lengths, prefix="body.")
        except InvalidFields as error:
            code = error.code if isinstance(error, TooLong) else "invalid_request"
            raise BadLine(code, error.message, error.faults[0].field) from None
        return self.model

    def _find(self, name: str) -> ModelView | None:
        with self.database.session() as session:
            try:
                return get_model(session, name)
            except ModelNotFound:
                return None

    def _tell(self, code: str, message: str, line: int | None, param: str | None = None) -> None:
        self.errors.append({"code": code, "line": line, "message": message, "param": param})


def _larger(one: int | None, other: int | None) -> int | None:
    return max((size for size in (one, other) if size is not None), default=None)


def _code(name: str | None) -> str:
    """By the field; `invalid_request` for those of the body."""
    return CODES.get(name or "", "invalid_request")
