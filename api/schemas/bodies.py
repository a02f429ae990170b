"""Whatever `POST /v1/jobs` takes as one JSON object, told apart by its kind."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from api.schemas.inputs import AnyJob
from api.schemas.searching import SearchJob

AnyBody = AnyJob | SearchJob

BODY: TypeAdapter[AnyBody] = TypeAdapter(Annotated[AnyBody, Field(discriminator="kind")])
