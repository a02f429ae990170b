"""The body of a search job, and what of a skip set's place may be named."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from api.schemas.fields import MAX_SEED, Body, Metadata, ModelName, Text
from api.schemas.inputs import MAX_DEADLINE_S, MAX_RETENTION_S, Message
from models.calibration import MAX_PROMPTS, MIN_PROMPTS

BatchClass = Literal["1", "2-4", "5+"]
DeviceKind = Literal["cpu", "cuda"]
Sampler = Literal["gp", "tpe", "random", "greedy"]

DEFAULT_TRIALS: Final = 400
MAX_WORKERS: Final = 8

Trials = Annotated[int, Field(ge=1, le=100_000, description="candidates scored at most")]
Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600, description="of the device, at most")]


class Budget(Body):
    """When a search stops looking and confirms what it has."""

    trials: Trials = DEFAULT_TRIALS
    seconds: Seconds | None = None


class CalibrationPrompt(Body):
    """A prompt taken as it is, or messages put through the model's chat template."""

    prompt: Annotated[Text, Field(min_length=1)] | None = None
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)] | None = None

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        return self


class CalibrationChoice(Body):
    """What candidates are judged by: recent prompts of tenants that allow it, a built-in set, or prompts given here."""

    source: Literal["recent", "builtin", "inline"] | None = Field(
        default=None, description="inline where prompts are given, else recent; built-in where too few are recent"
    )
    prompts: Annotated[list[CalibrationPrompt], Field(min_length=MIN_PROMPTS, max_length=MAX_PROMPTS)] | None = None

    @model_validator(mode="after")
    def _prompts_are_inline(self) -> Self:
        if self.source == "inline" and self.prompts is None:
            raise ValueError("source inline needs prompts")
        if self.source not in (None, "inline") and self.prompts is not None:
            raise ValueError(f"prompts are for source inline, not {self.source}")
        return self


class SearchJob(Body):
    """Search for the skip set that a model drafts fastest with. It has no inputs: what it needs is here."""

    kind: Literal["search"]
    model: ModelName
    budget: Budget = Budget()
    calibration: CalibrationChoice = CalibrationChoice()
    promote: bool = Field(default=True, description="make what is found the active set, if it beats all there is")
    sampler: Sampler = "greedy"
    device_kind: DeviceKind | None = Field(default=None, description="that of the model's workers when left out")
    batch_class: BatchClass = Field(default="1", description="rows decoded together")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    workers: int = Field(default=1, ge=1, le=MAX_WORKERS, description="that may share it, the first of them leads")
    deadline_s: int | None = Field(default=None, ge=1, le=MAX_DEADLINE_S)
    retention_s: int | None = Field(default=None, ge=60, le=MAX_RETENTION_S)
    metadata: Metadata = Field(default_factory=dict)
    webhook_url: Text | None = Field(default=None, max_length=2048)


class RollBack(Body):
    """The place whose last activation is to be undone."""

    device_kind: DeviceKind
    batch_class: BatchClass = "1"


class ScheduleBody(Body):
    """When a model is looked at, and what a search may cost then."""

    cron: Text = Field(min_length=1, max_length=100, description="minute, hour, day of month, month, day of week")
    timezone: Text = Field(default="UTC", min_length=1, max_length=64, description="as in `Europe/Berlin`")
    budget: Budget = Budget()
    window_s: int = Field(
        default=6 * 3600, ge=600, le=24 * 3600, description="after the fire time; the search has to be done by then"
    )
    max_age_days: int = Field(default=30, ge=1, le=3650, description="an older search is repeated whatever it found")
    batch_class: BatchClass = "1"
    sampler: Sampler = "greedy"
    promote: bool = True
    calibration: Literal["recent", "builtin"] = "recent"
    is_paused: bool = False
