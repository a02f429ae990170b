"""`/openapi.json` and `/docs`: the document APIFlask builds from the routes, and Swagger UI from an installed wheel."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from apiflask import APIFlask
from flask import Blueprint, Response, send_from_directory
from pydantic.json_schema import models_json_schema

from api import sse
from api.outcomes import PROBLEM_REF, add_common
from api.problems import MEDIA_TYPE
from api.schemas.inputs import GenerateHead, GenerateInput, GenerateJob, SummarizeHead, SummarizeInput, SummarizeJob
from api.schemas.searching import SearchJob

ASSETS: Final = "/docs/assets"
REF: Final = "#/components/schemas/{model}"
VALIDATION_REF: Final = "#/components/schemas/ValidationError"
JOB_SCHEMAS: Final = (
    GenerateJob,
    SummarizeJob,
    SearchJob,
    GenerateHead,
    SummarizeHead,
    GenerateInput,
    SummarizeInput,
)

PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id", "error"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["message"],
                "properties": {
                    "field": {"type": "string"},
                    "line": {"type": "integer"},
                    "message": {"type": "string"},
                },
            },
        },
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        },
    },
}

PROBLEM_CONTENT: Final[dict[str, Any]] = {MEDIA_TYPE: {"schema": PROBLEM}}

Responses = dict[int | str, dict[str, str | dict[str, dict[str, Any]]]]

# `POST /v1/jobs` takes two media types, which APIFlask's decorators cannot say.
JOB_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "oneOf": [{"$ref": REF.format(model=name)} for name in ("GenerateJob", "SummarizeJob", "SearchJob")],
                "discriminator": {"propertyName": "kind"},
            }
        },
        "application/x-ndjson": {
            "schema": {
                "type": "string",
                "description": "first line GenerateHead or SummarizeHead, then one GenerateInput or "
                "SummarizeInput a line",
            }
        },
    },
}

FILE_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file", "purpose"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "purpose": {"type": "string", "enum": ["batch", "user_data"]},
                    "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                    "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2592000},
                },
            }
        }
    },
}

FILE_CONTENT: Final[Responses] = {
    200: {
        "description": "The file; the output of a batch as JSON Lines",
        "content": {
            "application/octet-stream": {"schema": {"type": "string"}},
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    },
    503: {"description": "Too many streams", "content": PROBLEM_CONTENT},
}

# As clients of event streams read each event.
EVENTS: Final[dict[str, Any]] = {
    "schema": {
        "type": "object",
        "required": ["data"],
        "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    }
}
EVENT_CONTENT: Final[dict[str, dict[str, Any]]] = {sse.MEDIA_TYPE: EVENTS}


def refusals(**descriptions: str) -> Responses:
    """Errors by their status, as in `_404="Unknown model"`."""
    return {name[1:]: {"description": told, "content": PROBLEM_CONTENT} for name, told in descriptions.items()}


def install(app: APIFlask) -> None:
    """Serve the user interface's files from the wheel, and complete the document."""
    app.config.update(
        HTTP_ERROR_SCHEMA=PROBLEM,
        VALIDATION_ERROR_SCHEMA=PROBLEM,
        VALIDATION_ERROR_STATUS_CODE=400,
        AUTO_OPERATION_ID=True,
        SWAGGER_UI_CSS=f"{ASSETS}/swagger-ui.css",
        SWAGGER_UI_BUNDLE_JS=f"{ASSETS}/swagger-ui-bundle.js",
        SWAGGER_UI_STANDALONE_PRESET_JS=f"{ASSETS}/swagger-ui-standalone-preset.js",
        DOCS_FAVICON=f"{ASSETS}/favicon-32x32.png",
    )
    app.register_blueprint(_assets())
    app.spec_processor(complete)


def complete(document: dict[str, Any] | str) -> dict[str, Any] | str:
    """Add the schemas that only the job body names, what all operations share, and the media type of every error."""
    if isinstance(document, str):  # YAML, which this service does not serve
        return document
    _, extra = models_json_schema([(schema, "validation") for schema in JOB_SCHEMAS], ref_template=REF)
    document["components"].setdefault("schemas", {}).update(extra["$defs"])
    for path, operations in document["paths"].items():
        for operation in operations.values():
            add_common(path, operation, MEDIA_TYPE)
            for status, response in operation["responses"].items():
                if status >= "400" and _is_problem(response.get("content", {}).get("application/json", {})):
                    response["content"] = {MEDIA_TYPE: response["content"]["application/json"]}
    return document


def _is_problem(content: dict[str, Any]) -> bool:
    """Whether APIFlask has put one of its two kinds of errors there."""
    return content.get("schema", {}).get("$ref") in (PROBLEM_REF, VALIDATION_REF)


def _assets() -> Blueprint:
    blueprint = Blueprint("assets", __name__)
    folder = _dist()

    @blueprint.get(f"{ASSETS}/<path:name>")
    def asset(name: str) -> Response:
        response = send_from_directory(folder, name)
        response.headers["Cache-Control"] = "public, max-age=86400"
        return response

    return blueprint


def _dist() -> Path:
    """Swagger UI's files, found without importing the wheel that ships them."""
    spec = find_spec("flask_swagger_ui")
    if spec is None or spec.origin is None:
        raise RuntimeError("the wheel flask-swagger-ui is not installed")
    return Path(spec.origin).parent / "dist"
