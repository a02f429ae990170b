"""What OpenAI's completion routes take. What would change the text and cannot be served is refused, never ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from api.schemas.fields import MAX_SEED, Body, LogitBias, Misfit, ModelName, Shape, Stop, Text, TokenId, TokenIds

MAX_PROMPTS = 128


class Nothing(Body):
    """An object that must be empty."""


NoneOfThem = Annotated[list[Nothing], Field(max_length=0)]


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
    n: int | None = Field(default=None, ge=1, le=16)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: LogitBias | None = None
    # Not OpenAI's; clients send them as `extra_body`.
    min_p: float | None = Field(default=None, ge=0, le=1)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    min_tokens: int | None = Field(default=None, ge=0, le=10_000_000)
    stop_token_ids: TokenIds | None = None
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

    @property
    def num_top(self) -> int | None:
        """How many of the likeliest tokens are to be listed; None for no log-probabilities at all."""
        raise NotImplementedError

    def inputs(self) -> list[dict[str, Any]]:
        """As items take them."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _streams_with_options(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise Misfit("stream_options", "needs stream")
        return self


class TextPart(Body):
    """A piece of a message; pictures and sound are not understood."""

    type: Literal["text"]
    text: Text


def _as_any_of(schema: dict[str, Any]) -> None:
    """Forms that are told apart by their type need no `oneOf`, which some readers of the document take for more."""
    schema["anyOf"] = schema.pop("oneOf")


def _shape_of_content(value: Any) -> Shape | None:
    if isinstance(value, str):
        return Shape.TEXT
    return Shape.LIST if isinstance(value, list) else None


Content = Annotated[
    Annotated[Text, Tag(Shape.TEXT)] | Annotated[list[TextPart], Tag(Shape.LIST)],
    Discriminator(
        _shape_of_content, custom_error_type="content_type", custom_error_message="must be text or a list of its parts"
    ),
    Field(json_schema_extra=_as_any_of),
]


class ChatMessage(Body):
    """One turn. `developer` is what OpenAI calls `system` of late.

    An answer may come back as it was given, or as a client writes it out: whatever else it could have had is empty.
    """

    role: Literal["system", "developer", "user", "assistant"]
    content: Content | None = None
    name: Text | None = None
    refusal: Text | None = Field(default=None, description="what an assistant said in place of an answer")
    annotations: NoneOfThem | None = None
    tool_calls: NoneOfThem | None = None
    function_call: None = None
    audio: None = None

    def plain(self) -> dict[str, str]:
        """As a chat template takes it."""
        role = "system" if self.role == "developer" else self.role
        said = self.content or ""
        text = said if isinstance(said, str) else "".join(part.text for part in said)
        return {"role": role, "content": text + (self.refusal or "")}

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.refusal and self.role != "assistant":
            raise Misfit("refusal", f"is not for the role {self.role}")
        if self.content is None and not self.refusal:
            raise Misfit("content", "may be null only beside a refusal")
        return self


class TextFormat(Body):
    """The only format that can be promised."""

    type: Literal["text"]


class ChatBody(Completing):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]
    max_completion_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    response_format: TextFormat | None = None
    modalities: list[Literal["text"]] | None = None
    tools: NoneOfThem | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)

    @property
    def num_top(self) -> int | None:
        """Asked for in two fields."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def length(self) -> int | None:
        """`max_completion_tokens` is the newer name."""
        return self.max_completion_tokens or self.max_tokens

    def inputs(self) -> list[dict[str, Any]]:
        """One conversation."""
        return [{"messages": [message.plain() for message in self.messages]}]

    @model_validator(mode="after")
    def _lists_with_logprobs(self) -> Self:
        if self.top_logprobs and not self.logprobs:
            raise Misfit("top_logprobs", "needs logprobs")
        return self


def _shape_of_prompt(value: Any) -> Shape | None:
    """Of a list by its first entry; the others have to be like it."""
    if isinstance(value, str):
        return Shape.TEXT
    if not isinstance(value, list):
        return None
    if value and isinstance(value[0], list):
        return Shape.ID_LISTS
    return Shape.IDS if value and isinstance(value[0], int) else Shape.LIST


PromptText = Annotated[Text, Field(min_length=1)]
PromptTokens = Annotated[list[TokenId], Field(min_length=1)]
Prompts = Field(min_length=1, max_length=MAX_PROMPTS)


class TextBody(Completing):
    """The body of `POST /v1/completions`."""

    prompt: Annotated[
        Annotated[PromptText, Tag(Shape.TEXT)]
        | Annotated[list[PromptText], Prompts, Tag(Shape.LIST)]
        | Annotated[PromptTokens, Tag(Shape.IDS)]
        | Annotated[list[PromptTokens], Prompts, Tag(Shape.ID_LISTS)],
        Discriminator(
            _shape_of_prompt,
            custom_error_type="prompt_type",
            custom_error_message="must be text, token ids, or a list of one of these",
        ),
    ]
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None
    logprobs: int | None = Field(default=None, ge=0, le=20)
    suffix: None = None

    @property
    def num_top(self) -> int | None:
        """Asked for in one field."""
        return self.logprobs

    def inputs(self) -> list[dict[str, Any]]:
        """One a prompt."""
        is_one = isinstance(self.prompt, str) or isinstance(self.prompt[0], int)
        return [{"prompt": one} for one in ([self.prompt] if is_one else self.prompt)]


AnyBody = ChatBody | TextBody
