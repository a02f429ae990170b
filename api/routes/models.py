"""Models: register (with the admin scope), list, read."""

from __future__ import annotations

from flask import Response, url_for

from api import sources
from api.adapter import blueprint
from api.auth import auth, principal
from api.conditional import respond
from api.errors import InvalidFields
from api.idempotency import REPLAYED, is_first
from api.schemas.answers import ModelAnswer
from api.schemas.lists import ModelPage
from api.schemas.pages import ModelCursor
from api.schemas.registrations import ModelRegistration
from api.services import services
from api.views import model_answer, page_of
from models.catalog import NewModel, add_model, get_model, list_models

routes = blueprint("models", "Models")


@routes.post("/v1/models")
@routes.doc(responses={409: "The name is taken", 422: "Idempotency-Key used before", 502: "The hub does not answer"})
@routes.auth_required(auth, roles=["admin"])
@routes.input(ModelRegistration)
@routes.output(ModelAnswer, status_code=201)
def create_model(json_data: ModelRegistration) -> Response:
    """Register a model.

    The source is inspected, never run: safetensors or GGUF, a causal language model, local paths below the configured
    folders only.
    """
    new = _new_model(json_data)
    with services().database.session() as session:
        is_new = is_first(session, principal().tenant_id, (json_data.model_dump_json().encode(),))
        view = add_model(session, new) if is_new else get_model(session, new.name)
    headers = {"Location": url_for("models.read_model", name=view.name)}
    return respond(model_answer(view), 201, headers if is_new else {**headers, REPLAYED: "true"})


@routes.get("/v1/models")
@routes.auth_required(auth)
@routes.input(ModelCursor, location="query")
@routes.output(ModelPage)
def read_models(query_data: ModelCursor) -> ModelPage:
    """List models by name."""
    with services().database.session() as session:
        page = list_models(session, after=query_data.after, limit=query_data.limit)
    return page_of(ModelPage, [model_answer(view) for view in page.data], has_more=page.has_more)


@routes.get("/v1/models/<id:name>")
@routes.doc(responses={304: "Not modified"})
@routes.auth_required(auth)
@routes.output(ModelAnswer)
def read_model(name: str) -> Response:
    """Read a model."""
    with services().database.session() as session:
        return respond(model_answer(get_model(session, name)))


def _new_model(given: ModelRegistration) -> NewModel:
    facts = sources.inspect(given.source, given.revision, services().settings.model_roots)
    if given.context_length is not None and given.context_length > facts.context_length:
        message = f"{given.context_length} is more than the {facts.context_length} of the source"
        raise InvalidFields.of("context_length", message)
    return NewModel(
        name=given.name,
        source=given.source,
        revision=facts.revision,
        dtype=given.dtype,
        context_length=given.context_length or facts.context_length,
        architecture=facts.architecture,
        num_layers=facts.num_layers,
        has_chat_template=facts.has_chat_template,
    )
