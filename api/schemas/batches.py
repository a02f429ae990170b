"""Batches as OpenAI's clients send and read them: the request, the lines of the input, and those of the output."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from api.schemas.completed import ChatAnswer, TextAnswer
from api.schemas.completions import ChatBody, TextBody
from api.schemas.fields import CURSOR, Answer, Body, Metadata, UnixTime
from api.schemas.inputs import MAX_DEADLINE_S, CustomId
from api.schemas.pages import Page

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
DURATION: Final = re.compile(r"([0-9]{1,9})([smhd])")

CHAT: Final = "/v1/chat/completions"
TEXT: Final = "/v1/completions"


def seconds(duration: str) -> int:
    """`24h` in seconds. Raises ValueError."""
    found = DURATION.fullmatch(duration)
    number = int(found[1]) * UNITS[found[2]] if found else 0
    if not 1 <= number <= MAX_DEADLINE_S:
        raise ValueError("must be a duration such as 90s, 30m, 24h or 7d, of at most 30 days")
    return number


def _duration(text: str) -> str:
    seconds(text)
    return text


class OutputExpiresAfter(Body):
    """How long output and error file are kept once the batch has ended; left out, as long as its job."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=2_592_000)


class BatchBody(Body):
    """The body of `POST /v1/batches`."""

    input_file_id: str = Field(pattern=CURSOR)
    endpoint: Literal["/v1/chat/completions", "/v1/completions"]
    completion_window: Annotated[str, AfterValidator(_duration)] = Field(
        description="90s, 30m, 24h, 7d, ..., of at most 30 days", json_schema_extra={"pattern": f"^{DURATION.pattern}$"}
    )
    metadata: Metadata | None = None
    output_expires_after: OutputExpiresAfter | None = None


class Line(Body):
    """What every line of a batch's input shares."""

    custom_id: CustomId
    method: Literal["POST"]


class ChatLine(Line):
    """A line for chat completions."""

    url: Literal["/v1/chat/completions"]
    body: ChatBody


class TextLine(Line):
    """A line for completions."""

    url: Literal["/v1/completions"]
    body: TextBody


class LineError(Answer):
    """One thing wrong with a batch's input."""

    code: str
    line: int | None = None
    message: str
    param: str | None = None


class Errors(Answer):
    """What is wrong with a batch's input."""

    object: Literal["list"] = "list"
    data: list[LineError]


class RequestCounts(Answer):
    """Requests of a batch; those neither completed nor failed are still open, or were cancelled or expired."""

    total: int
    completed: int
    failed: int


class BatchUsage(Answer):
    """Tokens of a batch."""

    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int


class BatchAnswer(Answer):
    """A batch. `job_id` is ours: the job that does it, once its input was found good."""

    id: str
    object: Literal["batch"] = "batch"
    endpoint: str
    model: str | None
    errors: Errors | None
    input_file_id: str
    completion_window: str
    status: str
    output_file_id: str | None
    error_file_id: str | None
    created_at: UnixTime
    in_progress_at: UnixTime | None
    expires_at: UnixTime
    finalizing_at: UnixTime | None
    completed_at: UnixTime | None
    failed_at: UnixTime | None
    expired_at: UnixTime | None
    cancelling_at: UnixTime | None
    cancelled_at: UnixTime | None
    request_counts: RequestCounts
    usage: BatchUsage | None
    metadata: dict[str, Any] | None
    job_id: str | None


class BatchPage(Page[BatchAnswer]):
    """Batches, newest first."""


class LineResponse(Answer):
    """The answer to one request of a batch."""

    status_code: int
    request_id: str
    body: ChatAnswer | TextAnswer


class LineFault(Answer):
    """Why a request of a batch has no answer."""

    code: str
    message: str


class OutputLine(Answer):
    """A line of a batch's output file, or of its error file."""

    id: str
    custom_id: str | None
    response: LineResponse | None
    error: LineFault | None
