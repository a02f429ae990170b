"""What OpenAI's completion routes take. What would change the text and cannot be served is refused, never ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from api.schemas.fields import MAX_SEED, Answer, Body, ModelName, Stop, Text, UnixTime

MAX_PROMPTS = 128


class Nothing(Body):
    """An object that must be empty."""


class StreamOptions(Body):
    """What a stream ends with."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None  # against traffic analysis; there is none here


class Completing(Body):
    """What both routes share. A member that is null counts as left out."""

    model: ModelName
    max_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    temperature: float | None = Field(default=None, ge=0, le=100, description="1 when left out")
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0, le=10_000_000)
    seed: int | None = Field(default=None, ge=-MAX_SEED - 1, le=MAX_SEED)
    stop: Stop | None = None
    n: Literal[1] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    # These have no bearing on the text.
    user: Text | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None

    @property
    def length(self) -> int | None:
        """How many tokens were asked for."""
        return self.max_tokens

    @model_validator(mode="after")
    def _streams_with_options(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream")
        return self


class TextPart(Body):
    """A piece of a message; pictures and sound are not understood."""

    type: Literal["text"]
    text: Text


class ChatMessage(Body):
    """One turn. `developer` is what OpenAI calls `system` of late."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart]
    name: Text | None = None

    def plain(self) -> dict[str, str]:
        """As a chat template takes it."""
        role = "system" if self.role == "developer" else self.role
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": role, "content": text}


class TextFormat(Body):
    """The only format that can be promised."""

    type: Literal["text"]


class ChatBody(Completing):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]
    max_completion_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    response_format: TextFormat | None = None
    modalities: list[Literal["text"]] | None = None
    tools: Annotated[list[Nothing], Field(max_length=0)] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    logprobs: Literal[False] | None = None

    @property
    def length(self) -> int | None:
        """`max_completion_tokens` is the newer name."""
        return self.max_completion_tokens or self.max_tokens

    def inputs(self) -> list[dict[str, Any]]:
        """As items take them."""
        return [{"messages": [message.plain() for message in self.messages]}]


class TextBody(Completing):
    """The body of `POST /v1/completions`."""

    prompt: (
        Annotated[Text, Field(min_length=1)]
        | Annotated[list[Annotated[Text, Field(min_length=1)]], Field(min_length=1, max_length=MAX_PROMPTS)]
    )
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None
    logprobs: None = None
    suffix: None = None

    def inputs(self) -> list[dict[str, Any]]:
        """As items take them, one a prompt."""
        return [{"prompt": text} for text in ([self.prompt] if isinstance(self.prompt, str) else self.prompt)]


AnyBody = ChatBody | TextBody


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
    logprobs: None = None


class ChatAnswer(Answer):
    """A chat completion."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: UnixTime
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage


class TextChoice(Answer):
    """One continuation of a prompt."""

    index: int
    text: str
    finish_reason: FinishReason
    logprobs: None = None


class TextAnswer(Answer):
    """A completion."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: UnixTime
    model: str
    choices: list[TextChoice]
    usage: TokenUsage
