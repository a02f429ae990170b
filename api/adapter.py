"""How APIFlask's `input` and `output` use our schemas: strict parsing with our errors, one dump on the way out.

Answers are described as they are written (fields by their own names, times as text or numbers), bodies as they are
read.
"""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from apiflask.schema_adapters import registry
from apiflask.schema_adapters.pydantic import PydanticAdapter
from flask import Request
from pydantic import BaseModel, TypeAdapter

from api.bodies import is_absent, read_json
from api.schemas.fields import Answer
from api.validation import parse, read_query


class StrictAdapter(PydanticAdapter):
    """APIFlask's pydantic adapter, with the reading of bodies and query strings replaced.

    Its own converts types (`"5"` becomes 5), ignores the content type and loses where in a body an error lies.
    """

    def validate_input(self, request: Request, location: str, **kwargs: Any) -> BaseModel:
        """Read a JSON body or a query string into the schema."""
        match location:
            case "json":
                if getattr(self.model_class, "may_be_absent", False) and is_absent():
                    return self.model_class()
                body: BaseModel = parse(TypeAdapter(self.model_class), read_json())
                return body
            case "query":
                return read_query(self.model_class, request.args.to_dict())
        raise ValueError(f"no route reads {location}")

    def get_openapi_schema(self, **kwargs: Any) -> dict[str, Any]:
        """The schema of what is sent, for answers; of what is accepted, for everything else."""
        mode = "serialization" if issubclass(self.model_class, Answer) else "validation"
        return super().get_openapi_schema(**{**kwargs, "mode": mode})


def blueprint(name: str, tag: str) -> APIBlueprint:
    """A group of routes whose bodies and query strings are read by `StrictAdapter`.

    APIFlask picks the adapter when a route is decorated, so it is registered before the first one is.
    """
    registry.register("pydantic", StrictAdapter)
    return APIBlueprint(name, f"api.routes.{name}", tag=tag)
