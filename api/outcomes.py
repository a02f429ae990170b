"""What any operation may answer with beside what its own route says, and the headers and paths that they share.

Read off the operation itself: who may ask, whether it has a body, whether it can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from api import idempotency, marks
from api.ids import IdConverter

Operation = dict[str, Any]

PROBLEM_REF: Final = "#/components/schemas/HTTPError"
REPEATED: Final = "422"  # what a route says that takes an Idempotency-Key
LIMITED: Final = {"429": "Rate limit or quota exceeded", "503": "Busy, or no database just now"}
REFUSED_BODY: Final = {
    "400": "Not what was asked for: names the field, or the line of JSON Lines",
    "408": "The body stopped arriving",
    "413": "Too large",
    "415": "Another media type",
}
ID: Final = {"type": "string", "pattern": f"^{IdConverter.regex}$"}
KEY_HEADER: Final = {
    "in": "header",
    "name": idempotency.HEADER,
    "description": "the same key with the same request is carried out once, for 24 hours",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
MARK_HEADER: Final = {
    "in": "header",
    "name": marks.HEADER,
    "description": "the id of the last event that was received",
    "schema": {"type": "string", "pattern": f"^({marks.MARK.pattern})?$"},
}


def add_common(path: str, operation: Operation, media_type: str) -> None:
    """Complete the responses and parameters of one operation; errors are of `media_type`."""
    if REPEATED in operation["responses"]:
        operation["parameters"].append(KEY_HEADER)
    if path.endswith("/events"):
        operation["parameters"].append(MARK_HEADER)
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            parameter["schema"] = ID
    content = {media_type: {"schema": {"$ref": PROBLEM_REF}}}
    for status, description in _common(operation):
        operation["responses"].setdefault(status, {"description": description, "content": content})
    if "304" in operation["responses"]:
        operation["responses"]["304"].pop("content", None)


def _common(operation: Operation) -> Iterator[tuple[str, str]]:
    """Status and description."""
    if "requestBody" in operation:
        yield from REFUSED_BODY.items()
    if any(parameter["in"] == "header" for parameter in operation["parameters"]):
        yield "400", "A header that is none of its kind"
    if "security" in operation:
        if any(scopes for choice in operation["security"] for scopes in choice.values()):
            yield "403", "A key without the scope"
        yield from LIMITED.items()
