"""OpenAI's completion routes: a job of the interactive lane, whose end the request waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import chain
from typing import Final

from flask import Response, g, request

from api import asking, sse
from api.adapter import blueprint
from api.auth import auth, principal, watch_key
from api.awaiting import PATIENCE_S, STREAM_S, await_end, is_repeatable, place
from api.conditional import dump
from api.documentation import EVENT_CONTENT, Responses, refusals
from api.errors import UnknownModel
from api.failures import failure_of
from api.following import Following
from api.hooks import origin_of_request
from api.idempotency import REPLAYED, fingerprint, key_of_request
from api.schemas.completed import ChatAnswer, TextAnswer
from api.schemas.completions import AnyBody, ChatBody, TextBody
from api.services import services
from api.streaming import Chunks, events
from api.wire import chat_answer, text_answer
from models.catalog import ModelView, get_model
from models.errors import ModelNotFound
from models.items import ItemView, stream_items
from models.jobs import JobView, get_job
from models.states import ItemStatus, JobKind, Lane
from models.submit import NewItem, NewJob, Submitted, submit

routes = blueprint("completions", "Completions")

JOB_ID = "X-Skim-Job-Id"  # the job behind an answer, for those who want its statistics
Render = Callable[[JobView, Sequence[ItemView], str], ChatAnswer | TextAnswer]
RESPONSES: Final[Responses] = {
    200: {"description": "The answer; with `stream` as events", "content": EVENT_CONTENT},
    **refusals(
        _404="Unknown model",
        _409="Cancelled meanwhile",
        _422="Idempotency-Key used before",
        _429="Quota exceeded",
        _500="It could not be made",
        _503="Busy",
        _504="Too late",
    ),
}


@routes.post("/v1/chat/completions")
@routes.doc(responses=RESPONSES)
@routes.auth_required(auth, roles=["jobs"])
@routes.input(ChatBody)
@routes.output(ChatAnswer)
def create_chat_completion(json_data: ChatBody) -> Response:
    """Answer a conversation. A client that hangs up cancels it, unless it sent an `Idempotency-Key`."""
    return _complete(json_data, chat_answer)


@routes.post("/v1/completions")
@routes.doc(responses=RESPONSES)
@routes.auth_required(auth, roles=["jobs"])
@routes.input(TextBody)
@routes.output(TextAnswer)
def create_completion(json_data: TextBody) -> Response:
    """Continue one or more prompts. A client that hangs up cancels it, unless it sent an `Idempotency-Key`."""
    return _complete(json_data, text_answer)


def _complete(body: AnyBody, render: Render) -> Response:
    model = _model(body.model)
    asking.check(body, model, services().settings.chat_tokens)
    asking.check_lengths(body, model, services().lengths)
    if body.stream:
        return _stream(body, model)
    with place():
        written = _submit(body, model)
        await_end(written.job_id)
    job, items = _read(written.job_id)
    answer = render(job, items, written.job_id.removeprefix("job_"))
    return Response(dump(answer), headers=_headers(written), content_type="application/json")


def _stream(body: AnyBody, model: ModelView) -> Response:
    """The answer as it comes. Nothing is sent before its first piece, so that an early failure has its own status."""
    with ExitStack() as held:
        held.enter_context(place())
        written = _submit(body, model)
        following = Following(
            database=services().database,
            watcher=services().watcher,
            reader=services().reader,
            environ=request.environ,
            check_key=watch_key(),
            tenant_id=principal().tenant_id,
            job_id=written.job_id,
            num_items=len(body.inputs()),
            num_choices=body.n or 1,
        )
        chunks = events(following, Chunks.of(body, written.job_id), g.request_id, is_repeatable=is_repeatable())
        response = sse.respond(chain([next(chunks)], chunks), _headers(written))
        response.call_on_close(chunks.close)
        response.call_on_close(held.pop_all().close)
    return response


def _headers(written: Submitted) -> dict[str, str]:
    return {JOB_ID: written.job_id} | ({} if written.created else {REPLAYED: "true"})


def _submit(body: AnyBody, model: ModelView) -> Submitted:
    new = NewJob(
        tenant_id=principal().tenant_id,
        kind=JobKind.GENERATE,
        model=model.name,
        lane=Lane.INTERACTIVE,
        parameters=asking.parameters(body, model, services().settings.chat_tokens),
        decoding=asking.DECODING,
        options={"stream": True} if body.stream else {},
        deadline_s=STREAM_S if body.stream else PATIENCE_S,
        origin=origin_of_request(),
        idempotency_key=key_of_request(),
        fingerprint=fingerprint((body.model_dump_json().encode(),)),
    )
    with services().database.session() as session:
        written = submit(session, new, [NewItem(None, given) for given in body.inputs()])
    services().bell.ring(new.model, new.lane)
    return written


def _read(job_id: str) -> tuple[JobView, Sequence[ItemView]]:
    """The job and its items, all of which have to be good."""
    tenant_id = principal().tenant_id
    with services().database.session() as session:
        job = get_job(session, tenant_id, job_id)
        items = list(stream_items(session, tenant_id, job_id))
    for item in items:
        if item.status is not ItemStatus.SUCCEEDED:
            raise failure_of(item)
    return job, items


def _model(name: str) -> ModelView:
    with services().database.session() as session:
        try:
            return get_model(session, name)
        except ModelNotFound as error:
            raise UnknownModel(name) from error
