"""From items to OpenAI's wire format: chat completions, completions, and the lines of a batch's files."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from api.schemas.answers import Logprobs
from api.schemas.batches import CHAT, LineFault, LineResponse, OutputLine
from api.schemas.completed import (
    ChatAnswer,
    ChatChoice,
    ChatReply,
    FinishReason,
    TextAnswer,
    TextChoice,
    TextLogprobs,
    TokenUsage,
)
from models.items import ItemView
from models.jobs import JobView
from models.states import ItemStatus

# What an item that never ran has to say for itself.
ENDINGS: Final = {
    ItemStatus.CANCELLED: ("batch_cancelled", "the batch was cancelled before this request was answered"),
    ItemStatus.EXPIRED: ("batch_expired", "the completion window passed before this request was answered"),
}


@dataclass(frozen=True, slots=True)
class Said:
    """One choice of an item."""

    text: str
    finish_reason: FinishReason
    logprobs: Logprobs | None


def chat_answer(job: JobView, items: Sequence[ItemView], name: str) -> ChatAnswer:
    """A chat completion: the choices of each item in turn."""
    choices = [
        ChatChoice(
            index=index, message=ChatReply(content=one.text), finish_reason=one.finish_reason, logprobs=one.logprobs
        )
        for index, one in enumerate(_said(items))
    ]
    return ChatAnswer(
        id=f"chatcmpl-{name}", created=job.created_at, model=job.model, choices=choices, usage=usage_of(items)
    )


def text_answer(job: JobView, items: Sequence[ItemView], name: str) -> TextAnswer:
    """A completion: the choices of each item in turn."""
    choices = [
        TextChoice(
            index=index,
            text=one.text,
            finish_reason=one.finish_reason,
            logprobs=None if one.logprobs is None else text_logprobs(one.logprobs, Offsets()),
        )
        for index, one in enumerate(_said(items))
    ]
    return TextAnswer(
        id=f"cmpl-{name}", created=job.created_at, model=job.model, choices=choices, usage=usage_of(items)
    )


def output_line(job: JobView, item: ItemView, endpoint: str) -> OutputLine:
    """A line of a batch's output or error file."""
    name = f"{job.id.removeprefix('job_')}-{item.index}"
    response, error = None, None
    if item.status is ItemStatus.SUCCEEDED:
        answer = chat_answer if endpoint == CHAT else text_answer
        response = LineResponse(status_code=200, request_id=f"req_{name}", body=answer(job, [item], name))
    else:
        error = _fault(item)
    return OutputLine(id=f"batch_req_{name}", custom_id=item.custom_id, response=response, error=error)


class Offsets:
    """Where the tokens of a choice begin in its text, told of them in order. A character begins with the first token
    that it spans. The text itself does not say: what is streamed of it lags behind the tokens.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._end = 0

    def take(self, spelling: Sequence[int]) -> int:
        """The place of the next token, of which these are the bytes."""
        start = self._end
        self._end += len(self._decoder.decode(bytes(spelling)))
        return start


def text_logprobs(logprobs: Logprobs, offsets: Offsets) -> TextLogprobs:
    """The older form, of the next tokens of a choice."""
    tops = [{top.token: top.logprob for top in one.top_logprobs} for one in logprobs.content]
    return TextLogprobs(
        tokens=[one.token for one in logprobs.content],
        token_logprobs=[one.logprob for one in logprobs.content],
        top_logprobs=tops if any(tops) else None,
        text_offset=[offsets.take(one.bytes) for one in logprobs.content],
    )


def usage_of(items: Sequence[ItemView]) -> TokenUsage:
    """Tokens of several items."""
    prompt, completion = (
        sum((item.usage or {}).get(name, 0) for item in items) for name in ("prompt_tokens", "completion_tokens")
    )
    return TokenUsage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)


def choices_of(item: ItemView) -> Sequence[dict[str, Any]]:
    """The choices of an item, also of one that has a single one."""
    first = {"output": item.output, "finish_reason": item.finish_reason, "logprobs": item.logprobs}
    return item.choices or [first]


def _said(items: Sequence[ItemView]) -> Iterator[Said]:
    for item in items:
        for choice in choices_of(item):
            yield Said(
                text=choice["output"] or "",
                finish_reason="length" if choice["finish_reason"] == "length" else "stop",
                logprobs=None if choice["logprobs"] is None else Logprobs.model_validate(choice["logprobs"]),
            )


def _fault(item: ItemView) -> LineFault:
    if item.status in ENDINGS:
        code, message = ENDINGS[item.status]
        return LineFault(code=code, message=message)
    known: dict[str, Any] = item.error or {}
    return LineFault(code=known.get("code", "failed"), message=known.get("message", "the request failed"))
