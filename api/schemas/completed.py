"""What OpenAI's completion routes answer with."""

from __future__ import annotations

from typing import Literal

from api.schemas.answers import Logprobs
from api.schemas.fields import Answer, UnixTime

FinishReason = Literal["stop", "length"]


class TokenUsage(Answer):
    """What an answer cost."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatReply(Answer):
    """What the model said."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(Answer):
    """One answer to a conversation."""

    index: int
    message: ChatReply
    finish_reason: FinishReason
    logprobs: Logprobs | None


class ChatAnswer(Answer):
    """A chat completion."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: UnixTime
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage


class TextLogprobs(Answer):
    """Log-probabilities in the older form: lists with an entry a token. Offsets count characters of the text."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class TextChoice(Answer):
    """One continuation of a prompt."""

    index: int
    text: str
    finish_reason: FinishReason
    logprobs: TextLogprobs | None


class TextAnswer(Answer):
    """A completion."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: UnixTime
    model: str
    choices: list[TextChoice]
    usage: TokenUsage
