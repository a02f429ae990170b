"""Bodies of the administrative routes: a model or a key to register."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from api.schemas.fields import Body, ModelName, Text


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
    """A key for the caller's tenant."""

    name: Annotated[Text, Field(min_length=1, max_length=100)]
    scopes: list[Literal["jobs", "models", "admin"]] = Field(min_length=1, max_length=3)
    expires_at: AwareDatetime | None = None
