"""What the service answers with: jobs, items, models, skip sets, workers and keys as clients see them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from api.schemas.fields import Answer, Moment, UnixTime
from api.schemas.found import SearchAnswer
from api.schemas.pages import Status


class Counts(Answer):
    """Items of a job by status."""

    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    expired: int


class Queue(Answer):
    """Items of other jobs that come first, and live workers of the model (0: nobody will take the job)."""

    ahead: int
    workers: int


class Usage(Answer):
    """Tokens, all passes of a summary included."""

    prompt_tokens: int
    completion_tokens: int


class Decoding(Answer):
    """How the job is decoded: `drafter` is the one used for most items so far, until then the one asked for."""

    drafter: str
    requested_drafter: str
    reproducible: bool
    skip_set_id: str | None
    tokens_per_verify: float | None
    acceptance_rate: float | None
    tokens_per_second: float | None


class JobAnswer(Answer):
    """A job."""

    drifting: ClassVar[dict[str, set[str]]] = {"decoding": {"tokens_per_second"}, "queue": {"ahead"}}

    id: str
    object: Literal["job"] = "job"
    kind: Literal["generate", "summarize", "search"]
    model: str
    status: Status
    priority: str
    counts: Counts
    queue: Queue
    usage: Usage
    parameters: dict[str, Any] = Field(description="as applied: defaults filled in, the seed drawn")
    options: dict[str, Any] = Field(description="style and max_words of summaries; mean_tokens of batches, for quotas")
    decoding: Decoding
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    cancel_requested_at: Moment | None
    expires_at: Moment | None
    delete_at: Moment | None = Field(description="when it is deleted with its items; known once it has ended")
    retry_of: str | None = Field(description="the job whose lost items these are")
    search: SearchAnswer | None = Field(description="how far a search is, and what it found")
    metadata: dict[str, str]
    error: dict[str, Any] | None
    links: dict[str, str]


class Likely(Answer):
    """A token that could have stood in a place, `bytes` because it may be part of a character."""

    token: str
    logprob: float
    bytes: list[int]


class Scored(Likely):
    """A token of the output: its log-probability before temperature, penalties and bias, and the likeliest tokens."""

    top_logprobs: list[Likely]


class Logprobs(Answer):
    """A token each, as in OpenAI's chat completions: all that `usage` counts, also those a stop string took along."""

    content: list[Scored]


class Choice(Answer):
    """One of several outputs of an input; they differ by their seeds."""

    index: int
    output: str
    finish_reason: str
    logprobs: Logprobs | None


class ItemAnswer(Answer):
    """One input of a job and what became of it."""

    object: Literal["item"] = "item"
    index: int
    custom_id: str | None
    status: Status
    output: str | None = Field(description="of the first choice")
    finish_reason: str | None
    choices: list[Choice] | None = Field(description="where `n` is more than 1")
    logprobs: Logprobs | None = Field(description="where asked for and `n` is 1")
    usage: Usage | None
    decoding: dict[str, Any] | None
    attempts: int
    error: dict[str, Any] | None


class ModelAnswer(Answer):
    """A registered model."""

    id: str = Field(description="the name, which is what jobs refer to")
    object: Literal["model"] = "model"
    name: str
    source: str
    revision: str | None
    dtype: str
    context_length: int
    architecture: str
    num_layers: int
    has_chat_template: bool
    created_at: Moment
    created: UnixTime = Field(description="as OpenAI's clients read it")
    owned_by: Literal["skim"] = "skim"


class WorkerAnswer(Answer):
    """A device that decodes one model."""

    id: str
    object: Literal["worker"] = "worker"
    name: str
    host: str
    pid: int
    model: str
    device: str
    device_kind: str
    dtype: str
    rows: int
    status: str = Field(description="loading, ready or stopping")
    drafters: list[str] = Field(description="that jobs may ask it for; known once it is ready")
    note: str | None = Field(description="why some drafters are missing")
    is_live: bool
    started_at: Moment
    last_seen_at: Moment


class DeliveryAnswer(Answer):
    """A message to a job's `webhook_url`; `attempts` counts those since it was made or asked for again."""

    id: str = Field(description="sent along as `webhook-id`")
    object: Literal["delivery"] = "delivery"
    job_id: str
    url: str
    status: Literal["waiting", "delivered", "given_up"]
    attempts: int
    last_error: str | None
    next_attempt_at: Moment | None = Field(validation_alias="due_at", description="null once it has ended")
    created_at: Moment
    ended_at: Moment | None


class SecretAnswer(Answer):
    """What webhooks are signed with: `whsec_` and base64."""

    object: Literal["webhook_secret"] = "webhook_secret"
    secret: str


class TenantAnswer(Answer):
    """A tenant; a limit that is null does not limit."""

    id: str
    object: Literal["tenant"] = "tenant"
    name: str
    weight: int
    max_open_jobs: int | None
    max_open_items: int | None
    max_queued_tokens: int | None
    retention_s: int | None = Field(validation_alias="keep_s")
    allows_calibration: bool
    created_at: Moment


class AuditAnswer(Answer):
    """What was done; `actor_id` is the key that did it to `subject_id`."""

    id: str
    object: Literal["audit_entry"] = "audit_entry"
    action: str
    subject_id: str
    actor_id: str | None
    at: Moment


class KeyAnswer(Answer):
    """An API key; `secret` is shown once, in the answer that made it."""

    id: str
    object: Literal["api_key"] = "api_key"
    name: str
    prefix: str
    scopes: list[str]
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    last_used_at: Moment | None
    secret: str | None = None
