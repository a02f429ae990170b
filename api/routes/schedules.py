"""Schedules, for administrators: when a model is looked at for a better skip set, and what each night came to."""

from __future__ import annotations

from flask import Response

from api.adapter import blueprint
from api.auth import auth, principal
from api.conditional import respond
from api.errors import InvalidFields
from api.finding_views import fire_answer, schedule_answer
from api.schemas.found import ScheduleAnswer
from api.schemas.lists import FirePage
from api.schemas.pages import Cursor
from api.schemas.searching import ScheduleBody
from api.searching import check_depth
from api.services import services
from api.views import page_of
from models.audit import Action, note
from models.catalog import get_model
from models.errors import InvalidSchedule
from models.schedules import ScheduleSettings, delete_schedule, get_schedule, list_fires, put_schedule
from models.states import Calibration

routes = blueprint("schedules", "Schedules")


@routes.get("/v1/models/<id:name>/schedule")
@routes.doc(responses={304: "Not modified"})
@routes.auth_required(auth, roles=["admin"])
@routes.output(ScheduleAnswer)
def read_schedule(name: str) -> Response:
    """Read the tenant's schedule of a model, and when it fires next."""
    with services().database.session() as session:
        return respond(schedule_answer(get_schedule(session, principal().tenant_id, name)))


@routes.put("/v1/models/<id:name>/schedule")
@routes.doc(responses={409: "Another tenant's schedule looks after the model"})
@routes.auth_required(auth, roles=["admin"])
@routes.input(ScheduleBody)
@routes.output(ScheduleAnswer)
def set_schedule(name: str, json_data: ScheduleBody) -> Response:
    """Look after a model: at the times of a cron expression a search is opened if the model needs one.

    It does where acceptance has dropped, where its weights or device kind were never searched, or where the last
    search is old. Searches belong to the tenant.
    """
    caller = principal()
    with services().database.session() as session:
        check_depth(get_model(session, name))
        try:
            view = put_schedule(session, caller.tenant_id, name, _settings(json_data))
        except InvalidSchedule as error:
            raise InvalidFields.of(error.field, error.message) from error
        note(session, caller.tenant_id, Action.SCHEDULE_CHANGED, view.id, caller.key_id)
    return respond(schedule_answer(view))


@routes.delete("/v1/models/<id:name>/schedule")
@routes.auth_required(auth, roles=["admin"])
@routes.output({}, status_code=204)
def remove_schedule(name: str) -> Response:
    """Look after the model no more. Its nights are remembered, its open search goes on."""
    caller = principal()
    with services().database.session() as session:
        delete_schedule(session, caller.tenant_id, name)
        note(session, caller.tenant_id, Action.SCHEDULE_DELETED, name, caller.key_id)
    return Response(status=204)


@routes.get("/v1/models/<id:name>/schedule/fires")
@routes.auth_required(auth, roles=["admin"])
@routes.input(Cursor, location="query")
@routes.output(FirePage)
def read_fires(name: str, query_data: Cursor) -> FirePage:
    """List the nights of a model, newest first: what was opened and promoted, or why not."""
    with services().database.session() as session:
        page = list_fires(session, principal().tenant_id, name, after=query_data.after, limit=query_data.limit)
    return page_of(FirePage, [fire_answer(view) for view in page.data], has_more=page.has_more)


def _settings(given: ScheduleBody) -> ScheduleSettings:
    return ScheduleSettings(
        cron=given.cron,
        timezone=given.timezone,
        max_trials=given.budget.trials,
        max_seconds=given.budget.seconds,
        window_s=given.window_s,
        max_age_days=given.max_age_days,
        batch_class=given.batch_class,
        sampler=given.sampler,
        promotes=given.promote,
        calibration=Calibration(given.calibration),
        is_paused=given.is_paused,
    )
