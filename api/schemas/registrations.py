"""Bodies of the administrative routes: a model, a key or a tenant to register or to change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from api.schemas.fields import Body, ModelName, Text

LAST_YEAR: Final = 9998  # a day later in another time zone is a date that Python does not have


def _in_time(moment: datetime) -> datetime:
    try:
        utc = moment.astimezone(UTC)
    except OverflowError:
        utc = None
    if utc is None or utc.year > LAST_YEAR:
        raise ValueError(f"must lie between the years 1 and {LAST_YEAR}")
    return utc


Name = Annotated[Text, Field(min_length=1, max_length=100)]
Limit = Annotated[int, Field(ge=0, le=2_000_000_000)]


class ModelRegistration(Body):
    """A set of weights under a name. `context_length` may be less than the model's own, never more."""

    name: ModelName
    source: Text = Field(
        min_length=1,
        max_length=1024,
        description="a hub id, or the absolute path of a folder of safetensors or of a GGUF file",
    )
    revision: Text | None = Field(default=None, min_length=1, max_length=255)
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64", "int8"] = "auto"
    context_length: int | None = Field(default=None, ge=16, le=100_000_000)


class KeyRegistration(Body):
    """A key for the caller's tenant; administrators of the first tenant may name another."""

    name: Name
    tenant_id: Text | None = Field(default=None, max_length=80)
    scopes: list[Literal["jobs", "models", "metrics", "admin"]] = Field(min_length=1, max_length=4)
    expires_at: Annotated[AwareDatetime, AfterValidator(_in_time)] | None = None


class TenantChange(Body):
    """What may be changed of a tenant. Of limits, `null` is none."""

    weight: int = Field(default=1, ge=1, le=1_000_000, description="share of a busy device, relative to other tenants")
    max_open_jobs: Limit | None = Field(default=None, description="unfinished jobs at a time")
    max_open_items: Limit | None = Field(default=None, description="items in them")
    max_queued_tokens: Annotated[int, Field(ge=0, le=10**15)] | None = Field(
        default=None, description="tokens of output that they may have"
    )
    retention_s: int | None = Field(
        default=None, ge=60, le=10 * 365 * 24 * 3600, description="of jobs that do not say; 30 days when null"
    )
    allows_calibration: bool = Field(default=False, description="whether its prompts may be used to tune skip sets")


class TenantRegistration(TenantChange):
    """A new tenant."""

    name: Name
