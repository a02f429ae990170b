"""What Schemathesis cannot know: which ids there are, and what must be left whole for the rest of a run.

Loaded by its process (`SCHEMATHESIS_HOOKS`). `FUZZED` is JSON: `ids` has the ids to use by the name of the path's
parameter, `doomed` those that may be deleted, `key_id` and `tenant_id` are the caller's own.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import Any

import schemathesis

KNOWN: dict[str, Any] = json.loads(os.environ["FUZZED"])
STRANGE = 8  # one value in so many is left as it was drawn


@schemathesis.hook
def map_path_parameters(context: schemathesis.HookContext, path_parameters: dict[str, Any]) -> dict[str, Any]:
    """Put ids of what there is in place of most that were drawn: all others are answered with the same 404."""
    if not path_parameters:
        return path_parameters
    operation = context.operation
    ids = KNOWN["doomed"] if operation is not None and operation.method.upper() == "DELETE" else KNOWN["ids"]
    return {name: _known(ids.get(name), value) for name, value in path_parameters.items()}


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: schemathesis.Case[Any], __: dict[str, Any]) -> None:
    """Spare the caller's own key and tenant, without which everything else would be refused."""
    for name in ("key_id", "tenant_id"):
        if case.method.upper() in ("DELETE", "PATCH") and (case.path_parameters or {}).get(name) == KNOWN[name]:
            case.path_parameters[name] = "none"


def _known(ids: list[str] | None, drawn: Any) -> Any:
    number = zlib.crc32(repr(drawn).encode("utf-8", "replace"))
    return drawn if not ids or number % STRANGE == 0 else ids[number % len(ids)]


@schemathesis.check
def names_its_field(
    _: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """What is refused for a field says which; only of a body that has no fields it cannot."""
    if response.status_code == 400 and isinstance(case.body, dict):
        problem = response.json()
        if problem["error"]["code"] == "invalid_field":
            assert problem["errors"][0].get("field"), problem["detail"]
