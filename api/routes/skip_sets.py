"""Skip sets of a model: what was found, what is active where and was before, and changing it (admin scope)."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Response
from sqlalchemy.orm import Session

from api.adapter import blueprint
from api.auth import auth, is_operator, principal
from api.conditional import respond
from api.finding_views import activation_answer, skip_set_answer
from api.idempotency import is_first
from api.schemas.found import ActivationAnswer, SkipSetAnswer
from api.schemas.lists import ActivationPage, SkipSetPage
from api.schemas.pages import NumberCursor
from api.schemas.searching import RollBack
from api.services import services
from api.views import page_of
from models.audit import Action, note
from models.catalog import SkipSetView, get_skip_set, list_skip_sets
from models.findings import own_searches
from models.places import ActivationView, activate, last_activation, list_activations, roll_back

routes = blueprint("skip_sets", "Skip sets")


@routes.get("/v1/models/<id:name>/skip-sets")
@routes.auth_required(auth)
@routes.output(SkipSetPage)
def read_skip_sets(name: str) -> SkipSetPage:
    """List the skip sets of a model, the active ones among them."""
    with services().database.session() as session:
        views = list_skip_sets(session, name)
        answers = _seen(session, views)
    return page_of(SkipSetPage, answers, has_more=False)


@routes.get("/v1/models/<id:name>/skip-sets/<id:skip_set_id>")
@routes.doc(responses={304: "Not modified"})
@routes.auth_required(auth)
@routes.output(SkipSetAnswer)
def read_skip_set(name: str, skip_set_id: str) -> Response:
    """Read a skip set: what it leaves out, what it was measured at, whether it is active or stale."""
    with services().database.session() as session:
        (answer,) = _seen(session, [get_skip_set(session, name, skip_set_id)])
    return respond(answer)


@routes.post("/v1/models/<id:name>/skip-sets/<id:skip_set_id>/activate")
@routes.doc(responses={409: "Of another revision, dtype or depth", 422: "Idempotency-Key used before"})
@routes.auth_required(auth, roles=["admin"])
@routes.output(SkipSetAnswer)
def activate_skip_set(name: str, skip_set_id: str) -> Response:
    """Draft with this skip set where it was found for, from the next seconds on."""
    caller = principal()
    with services().database.session() as session:
        if is_first(session, caller.tenant_id):
            view = activate(session, name, skip_set_id, tenant_id=caller.tenant_id, actor_id=caller.key_id)
            note(session, caller.tenant_id, Action.SKIP_SET_ACTIVATED, skip_set_id, caller.key_id)
        else:
            view = get_skip_set(session, name, skip_set_id)
        (answer,) = _seen(session, [view])
    return respond(answer)


@routes.post("/v1/models/<id:name>/skip-sets/rollback")
@routes.doc(responses={409: "Nothing to roll back", 422: "Idempotency-Key used before"})
@routes.auth_required(auth, roles=["admin"])
@routes.input(RollBack)
@routes.output(ActivationAnswer)
def roll_back_skip_set(name: str, json_data: RollBack) -> Response:
    """Undo the last activation of a place: whatever drafted there before does so again."""
    caller, place = principal(), (json_data.device_kind, json_data.batch_class)
    with services().database.session() as session:
        if is_first(session, caller.tenant_id, (json_data.model_dump_json().encode(),)):
            view = roll_back(session, name, *place, tenant_id=caller.tenant_id, actor_id=caller.key_id)
            note(session, caller.tenant_id, Action.SKIP_SET_ROLLED_BACK, view.became or name, caller.key_id)
        else:
            view = last_activation(session, name, *place)
    return respond(_answer(view))


@routes.get("/v1/models/<id:name>/activations")
@routes.auth_required(auth)
@routes.input(NumberCursor, location="query")
@routes.output(ActivationPage)
def read_activations(name: str, query_data: NumberCursor) -> ActivationPage:
    """List what was activated for a model and when, newest first; by which key or search, if that is the tenant's."""
    with services().database.session() as session:
        page = list_activations(session, name, after=query_data.after, limit=query_data.limit)
    return page_of(ActivationPage, [_answer(view) for view in page.data], has_more=page.has_more)


def _seen(session: Session, views: Sequence[SkipSetView]) -> list[SkipSetAnswer]:
    """Skip sets are everybody's; which search found one is told to its tenant, and to those who run the service."""
    answers = [skip_set_answer(view) for view in views]
    if is_operator():
        return answers
    own = own_searches(session, principal().tenant_id, {view.job_id for view in views if view.job_id is not None})
    return [one if one.search_id in own else one.model_copy(update={"search_id": None}) for one in answers]


def _answer(view: ActivationView) -> ActivationAnswer:
    """By whom a place was changed is told to its tenant, and to those who run the service."""
    answer = activation_answer(view)
    if is_operator() or view.tenant_id == principal().tenant_id:
        return answer
    return answer.model_copy(update={"actor_id": None, "search_id": None})
