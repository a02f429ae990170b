"""From bytes to schemas: parsing, and errors that name the field's path and the line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from api.errors import ApiError, Fault, InvalidFields, Malformed
from api.schemas.fields import Misfit, Shape

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

# Where pydantic speaks of its own machinery, the client is told about the request.
WORDING: Mapping[str, str] = {
    "extra_forbidden": "unknown field",
    "missing": "is required",
    "union_tag_not_found": "is required",
}

# Parts of pydantic's locations that are no part of the document: that a key and not its value is at fault, and which
# form of a value was recognised.
SILENT: Final = frozenset({"[key]", *Shape})


def parse(schema: TypeAdapter[T], data: bytes, *, line: int | None = None) -> T:
    """Read one JSON document.

    Raises:
        Malformed: no UTF-8, or no JSON.
        InvalidFields: every field that breaks the schema, by its path.
    """
    text = decode(data, line)
    try:
        return schema.validate_json(text)
    except ValidationError as error:
        raise _refusal(error, line) from None


def read_query(schema: type[M], args: Mapping[str, Any]) -> M:
    """Read a query string, or the fields of a form; raises InvalidFields."""
    try:
        return schema.model_validate(dict(args))
    except ValidationError as error:
        raise _refusal(error, None) from None


def decode(data: bytes, line: int | None = None) -> str:
    """UTF-8 to text; raises Malformed where it is not."""
    if not data.strip():
        raise Malformed("the line is empty" if line is not None else "the body is empty", line)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"not valid UTF-8 at byte {error.start}", line) from None


def path(location: tuple[int | str, ...]) -> str:
    """`("inputs", 3, "prompt")` as `inputs[3].prompt`."""
    text = ""
    for part in location:
        if part in SILENT:
            continue
        name = part or '""'  # a name may be empty, and is one all the same
        text += f"[{part}]" if isinstance(part, int) else f".{name}" if text else str(name)
    return text


def _refusal(error: ValidationError, line: int | None) -> ApiError:
    details = error.errors(include_url=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        return Malformed(f"not valid JSON: {details[0]['ctx']['error']}", line)
    return InvalidFields([_fault(detail, line) for detail in details])


def _fault(detail: ErrorDetails, line: int | None) -> Fault:
    location = detail["loc"]
    if location and location[0] in ("generate", "summarize", "search"):  # the kind that the schema was chosen by
        location = location[1:]
    if detail["type"].startswith("union_tag"):
        location = (*location, "kind")
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, Misfit):
        location = (*location, error.field)
    return Fault(path(location) or None, _message(detail), line)


def _message(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind in WORDING:
        return WORDING[kind]
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind == "union_tag_invalid":
        return f"must be one of {detail['ctx']['expected_tags']}"
    if kind == "too_long" and detail["loc"][-1:] == ("inputs",):
        return f"at most {detail['ctx']['max_length']} inputs in a JSON body; send more as application/x-ndjson"
    message = detail["msg"]
    return message[:1].lower() + message[1:]
