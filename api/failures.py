"""What became of an item that a request waited for, as the request's error."""

from __future__ import annotations

from typing import Final

from api.errors import ApiError, GenerationFailed, Superseded, TimedOut, Unanswerable
from models.items import ItemView
from models.states import ItemStatus

# Codes of items that failed for what was asked; any other failure is ours.
CLIENT_FAULTS: Final = frozenset(
    {
        "bad_messages",
        "bad_request",
        "context_length_exceeded",
        "drafter_unavailable",
        "empty_prompt",
        "no_chat_template",
        "token_out_of_range",
    }
)


def failure_of(item: ItemView) -> ApiError:
    """The error of an item that did not succeed."""
    match item.status:
        case ItemStatus.FAILED:
            code, message = ((item.error or {}).get(name, "failed") for name in ("code", "message"))
            return Unanswerable(code, message) if code in CLIENT_FAULTS else GenerationFailed(message)
        case ItemStatus.EXPIRED:
            return TimedOut("the answer did not come in time")
    return Superseded("the job was cancelled")
