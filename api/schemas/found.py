"""Answers about searches and what came of them: trials, skip sets, activations, schedules and their nights."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.schemas.fields import Answer, Moment


class SearchAnswer(Answer):
    """A search, running or ended. Speeds are relative to plain decoding."""

    id: str = Field(validation_alias="job_id", description="of the job that carries it")
    object: Literal["search"] = "search"
    model: str
    revision: str | None
    device_kind: str
    dtype: str
    batch_class: str
    num_layers: int
    status: str | None = Field(description="of its job; null once that was erased")
    sampler: str
    max_trials: int
    max_seconds: float | None
    promotes: bool
    seed: int
    calibration: str = Field(description="where the prompts came from after all")
    num_prompts: int
    study: str = Field(description="the first of the searches that it goes on from")
    workers: int = Field(description="that share it at most")
    phase: str | None = Field(description="references, warm, climbing, proposing or confirming")
    num_trials: int
    best_speed: float | None
    best_bits: str | None = Field(description="attention of every layer, then the MLPs; 1 is skipped")
    device_seconds: dict[str, Any] = Field(description="of the lead by kind of work, and of each helper")
    outcome: str | None = Field(description="promoted, kept, lookup or plain")
    skip_set_id: str | None
    is_promoted: bool
    note: str | None = Field(description="why nothing was promoted")
    created_at: Moment
    noted_at: Moment | None
    settled_at: Moment | None


class FullSearchAnswer(SearchAnswer):
    """A search with the evidence of its verdict."""

    finalist: dict[str, Any] | None
    report: dict[str, Any] | None = Field(description="what the picture at `/report` is drawn from")


class TrialAnswer(Answer):
    """A candidate and its score."""

    number: int
    object: Literal["trial"] = "trial"
    bits: str
    source: str
    prompts: int
    speed: float
    spread: float = Field(description="standard error of the speed over prompts")
    acceptance: float = Field(description="of the first draft of a round")
    loss: float
    draft_length: int
    device_seconds: float = Field(description="spent until then by the worker that scored it")
    created_at: Moment


class SkipSetAnswer(Answer):
    """The sub-layers one device kind leaves out while drafting."""

    id: str
    object: Literal["skip_set"] = "skip_set"
    model: str
    revision: str | None
    attention: list[int]
    mlp: list[int]
    device_kind: str
    dtype: str
    batch_class: str
    is_active: bool
    estimates: dict[str, Any]
    measurements: dict[str, Any]
    draft_length: int | None
    threshold: float | None = Field(description="of the adaptive exit; null drafts a fixed length")
    search_id: str | None = Field(
        validation_alias="job_id", description="the search that found it; null where it is another tenant's"
    )
    created_at: Moment
    activated_at: Moment | None
    stale_since: Moment | None = Field(description="less of its drafts is accepted since then")
    stale_evidence: dict[str, Any] | None


class ActivationAnswer(Answer):
    """A change of what serves a place: from `was` to `became`, a skip set, `plain`, or null for the starting set."""

    number: int
    object: Literal["activation"] = "activation"
    model: str
    revision: str | None
    device_kind: str
    dtype: str
    batch_class: str
    kind: str = Field(description="promoted, plain, activated or rolled_back")
    was: str | None
    became: str | None
    undid: int | None = Field(description="the activation that a roll back undid")
    search_id: str | None = Field(validation_alias="job_id", description="null where it is another tenant's")
    actor_id: str | None = Field(description="the API key; null for a search, and for another tenant's key")
    at: Moment


class BudgetAnswer(Answer):
    """What a search may cost."""

    trials: int
    seconds: float | None


class ScheduleAnswer(Answer):
    """A schedule. `next_fire_at` is null while it is paused."""

    id: str
    object: Literal["schedule"] = "schedule"
    model: str
    cron: str
    timezone: str
    budget: BudgetAnswer
    window_s: int
    max_age_days: int
    batch_class: str
    sampler: str
    promote: bool
    calibration: str
    is_paused: bool
    created_at: Moment
    updated_at: Moment
    next_fire_at: Moment | None


class FireAnswer(Answer):
    """A night: what was decided and why, and what came of the search if one was opened."""

    id: str
    object: Literal["fire"] = "fire"
    model: str
    fire_time: Moment
    at: Moment
    decision: str = Field(description="opened or skipped")
    reason: str
    detail: str
    num_missed: int = Field(description="earlier fire times that went by unseen")
    search_id: str | None = Field(validation_alias="job_id")
    status: str | None
    outcome: str | None
    is_promoted: bool | None
    note: str | None
    num_trials: int | None
    best_speed: float | None
