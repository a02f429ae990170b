"""OpenAI's completion routes: a job of the interactive lane, whose end the request waits for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Response

from api import asking
from api.adapter import blueprint
from api.auth import auth, principal
from api.awaiting import PATIENCE_S, await_end, place
from api.conditional import dump
from api.errors import GenerationFailed, Superseded, TimedOut, Unanswerable, UnknownModel
from api.idempotency import REPLAYED, fingerprint, key_of_request
from api.schemas.completed import ChatAnswer, TextAnswer
from api.schemas.completions import AnyBody, ChatBody, TextBody
from api.services import services
from api.wire import chat_answer, text_answer
from models.catalog import ModelView, get_model
from models.errors import ModelNotFound
from models.jobs import ItemView, JobView, get_job, stream_items
from models.states import ItemStatus, JobKind, Lane
from models.submit import NewItem, NewJob, Submitted, submit

routes = blueprint("completions", "Completions")

JOB_ID = "X-Skim-Job-Id"  # the job behind an answer, for those who want its statistics
# Codes of items that failed for what was asked; any other failure is ours.
CLIENT_FAULTS = frozenset(
    {
        "bad_messages",
        "bad_request",
        "context_length_exceeded",
        "drafter_unavailable",
        "empty_prompt",
        "no_chat_template",
        "token_out_of_range",
    }
)

Render = Callable[[JobView, Sequence[ItemView], str], ChatAnswer | TextAnswer]
RESPONSES = {
    404: "Unknown model",
    422: "Idempotency-Key used before",
    429: "Quota exceeded",
    503: "Busy",
    504: "Too late",
}


@routes.post("/v1/chat/completions")
@routes.doc(responses=RESPONSES)
@routes.auth_required(auth, roles=["jobs"])
@routes.input(ChatBody)
@routes.output(ChatAnswer)
def create_chat_completion(json_data: ChatBody) -> Response:
    """Answer a conversation. A client that hangs up cancels it."""
    return _complete(json_data, chat_answer)


@routes.post("/v1/completions")
@routes.doc(responses=RESPONSES)
@routes.auth_required(auth, roles=["jobs"])
@routes.input(TextBody)
@routes.output(TextAnswer)
def create_completion(json_data: TextBody) -> Response:
    """Continue one or more prompts. A client that hangs up cancels it."""
    return _complete(json_data, text_answer)


def _complete(body: AnyBody, render: Render) -> Response:
    model = _model(body.model)
    asking.check(body, model)
    with place():
        written = _submit(body, model)
        await_end(written.job_id)
    job, items = _read(written.job_id)
    answer = render(job, items, written.job_id.removeprefix("job_"))
    headers = {JOB_ID: written.job_id} | ({} if written.created else {REPLAYED: "true"})
    return Response(dump(answer), headers=headers, content_type="application/json")


def _submit(body: AnyBody, model: ModelView) -> Submitted:
    new = NewJob(
        tenant_id=principal().tenant_id,
        kind=JobKind.GENERATE,
        model=model.name,
        lane=Lane.INTERACTIVE,
        parameters=asking.parameters(body, model),
        decoding=asking.DECODING,
        deadline_s=PATIENCE_S,
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
        _check(item)
    return job, items


def _check(item: ItemView) -> None:
    match item.status:
        case ItemStatus.FAILED:
            code, message = ((item.error or {}).get(name, "failed") for name in ("code", "message"))
            raise Unanswerable(code, message) if code in CLIENT_FAULTS else GenerationFailed(message)
        case ItemStatus.EXPIRED:
            raise TimedOut(f"no answer within {PATIENCE_S} s")
        case ItemStatus.CANCELLED:
            raise Superseded("the job was cancelled")


def _model(name: str) -> ModelView:
    with services().database.session() as session:
        try:
            return get_model(session, name)
        except ModelNotFound as error:
            raise UnknownModel(name) from error
