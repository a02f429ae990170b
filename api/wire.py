"""From items to OpenAI's wire format: chat completions, completions, and the lines of a batch's files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.schemas.batches import CHAT, LineFault, LineResponse, OutputLine
from api.schemas.completions import ChatAnswer, ChatChoice, ChatReply, FinishReason, TextAnswer, TextChoice, TokenUsage
from models.jobs import ItemView, JobView
from models.states import ItemStatus

# What an item that never ran has to say for itself.
ENDINGS = {
    ItemStatus.CANCELLED: ("batch_cancelled", "the batch was cancelled before this request was answered"),
    ItemStatus.EXPIRED: ("batch_expired", "the completion window passed before this request was answered"),
}


def chat_answer(job: JobView, items: Sequence[ItemView], name: str) -> ChatAnswer:
    """A chat completion: one choice an item."""
    choices = [
        ChatChoice(index=index, message=ChatReply(content=item.output or ""), finish_reason=_reason(item))
        for index, item in enumerate(items)
    ]
    return ChatAnswer(
        id=f"chatcmpl-{name}", created=job.created_at, model=job.model, choices=choices, usage=_usage(items)
    )


def text_answer(job: JobView, items: Sequence[ItemView], name: str) -> TextAnswer:
    """A completion: one choice an item."""
    choices = [
        TextChoice(index=index, text=item.output or "", finish_reason=_reason(item)) for index, item in enumerate(items)
    ]
    return TextAnswer(id=f"cmpl-{name}", created=job.created_at, model=job.model, choices=choices, usage=_usage(items))


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


def _fault(item: ItemView) -> LineFault:
    if item.status in ENDINGS:
        code, message = ENDINGS[item.status]
        return LineFault(code=code, message=message)
    known: dict[str, Any] = item.error or {}
    return LineFault(code=known.get("code", "failed"), message=known.get("message", "the request failed"))


def _reason(item: ItemView) -> FinishReason:
    return "length" if item.finish_reason == "length" else "stop"


def _usage(items: Sequence[ItemView]) -> TokenUsage:
    prompt, completion = (
        sum((item.usage or {}).get(name, 0) for item in items) for name in ("prompt_tokens", "completion_tokens")
    )
    return TokenUsage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
