"""The body of `POST /v1/jobs`, by kind: the head (everything but the inputs) and one input.

A JSON body is head and inputs in one object; a JSON Lines body is the head on the first line and one input on each
further line. Both are therefore made of the same classes.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from api.schemas.fields import MAX_SEED, Body, LogitBias, Metadata, Misfit, ModelName, Stop, Text, TokenIds

MAX_JSON_INPUTS = 1000
MAX_DEADLINE_S = 30 * 24 * 3600
MAX_RETENTION_S = 10 * 366 * 24 * 3600

CustomId = Annotated[Text, Field(min_length=1, max_length=256)]


class Parameters(Body):
    """How the next token is chosen. `max_tokens` left out is 256, or follows `max_words` when summarising."""

    max_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    min_tokens: int = Field(default=0, ge=0, le=10_000_000, description="before so many the text cannot end")
    temperature: float = Field(default=0.0, ge=0, le=100, description="0 is greedy")
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0, le=10_000_000, description="0 is off")
    min_p: float = Field(default=0.0, ge=0, le=1, description="tokens less likely than this share of the best are out")
    repetition_penalty: float = Field(default=1.0, gt=0, le=10, description="of tokens in prompt or output; 1 is off")
    presence_penalty: float = Field(default=0.0, ge=-2, le=2, description="of tokens in the output")
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2, description="of tokens in the output, each time")
    logit_bias: LogitBias = Field(default_factory=dict, description="added to the logits of tokens, by token id")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, description="drawn and returned when left out")
    stop: Stop = Field(default_factory=list)
    stop_token_ids: TokenIds = Field(default_factory=list, description="end the text beside the model's own")
    n: int = Field(default=1, ge=1, le=16, description="choices of each input; at temperature 0 they are all alike")
    logprobs: int | None = Field(
        default=None, ge=0, le=20, description="log-probabilities of the tokens, and of so many of the likeliest"
    )


class Decoding(Body):
    """How fast text is made, never which text."""

    drafter: Literal["auto", "plain", "skip", "lookup", "cascade"] = "auto"
    reproducible: bool = False


class Head(Body):
    """What every kind of job shares."""

    model: ModelName
    parameters: Parameters = Parameters()
    decoding: Decoding = Decoding()
    priority: Literal["interactive", "bulk"] | None = Field(
        default=None, description="interactive for a single input, else bulk, when left out"
    )
    deadline_s: int | None = Field(default=None, ge=1, le=MAX_DEADLINE_S)
    retention_s: int | None = Field(
        default=None, ge=60, le=MAX_RETENTION_S, description="kept so long after its end, 30 days when left out"
    )
    metadata: Metadata = Field(default_factory=dict)
    webhook_url: Text | None = Field(default=None, max_length=2048)


class GenerateHead(Head):
    """Complete each prompt or conversation."""

    kind: Literal["generate"]


class SummarizeHead(Head):
    """Summarise each document; one longer than the model's context in parts, then as a whole."""

    kind: Literal["summarize"]
    style: Literal["paragraph", "bullets", "headline"] = "paragraph"
    max_words: int | None = Field(default=None, ge=1, le=100_000)


class Message(Body):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text


class Input(Body):
    """What every input shares."""

    custom_id: CustomId | None = None


class GenerateInput(Input):
    """A prompt taken as it is, or messages put through the model's chat template."""

    prompt: Annotated[Text, Field(min_length=1)] | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)] | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        return self


class SummarizeInput(Input):
    """A document to summarise."""

    document: Text = Field(min_length=1)

    @model_validator(mode="after")
    def _has_words(self) -> Self:
        if not self.document.strip():
            raise Misfit("document", "the document is blank")
        return self


class GenerateJob(GenerateHead):
    """A generate job with its inputs, as one JSON object."""

    inputs: list[GenerateInput] = Field(min_length=1, max_length=MAX_JSON_INPUTS)


class SummarizeJob(SummarizeHead):
    """A summarize job with its inputs, as one JSON object."""

    inputs: list[SummarizeInput] = Field(min_length=1, max_length=MAX_JSON_INPUTS)


class RetryBody(Body):
    """Which items of an ended job to try again."""

    may_be_absent = True

    statuses: Annotated[list[Literal["failed", "cancelled", "expired"]], Field(min_length=1, max_length=3)] = Field(
        default=["failed", "cancelled", "expired"]
    )


AnyHead = GenerateHead | SummarizeHead
AnyInput = GenerateInput | SummarizeInput
AnyJob = GenerateJob | SummarizeJob

HEAD: TypeAdapter[AnyHead] = TypeAdapter(Annotated[AnyHead, Field(discriminator="kind")])
JOB: TypeAdapter[AnyJob] = TypeAdapter(Annotated[AnyJob, Field(discriminator="kind")])
INPUTS: dict[str, TypeAdapter[AnyInput]] = {
    "generate": TypeAdapter(GenerateInput),
    "summarize": TypeAdapter(SummarizeInput),
}
