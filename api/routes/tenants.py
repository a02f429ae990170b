"""Tenants, for administrators: their own to look at; all of them, to make and to change, for those of the first one."""

from __future__ import annotations

from typing import Any

from flask import Response, url_for
from sqlalchemy.orm import Session

from api.adapter import blueprint
from api.auth import auth, check_operator, is_operator, principal
from api.conditional import respond
from api.idempotency import REPLAYED, fingerprint, key_of_request
from api.schemas.answers import TenantAnswer
from api.schemas.lists import TenantPage
from api.schemas.pages import Cursor
from api.schemas.registrations import TenantChange, TenantRegistration
from api.services import services
from api.views import page_of, tenant_answer
from models.audit import Action, note
from models.errors import TenantNotFound
from models.idempotency import take
from models.ids import new_id
from models.page import Page
from models.tenants import TenantView, add_tenant, change_tenant, get_tenant, list_tenants

routes = blueprint("tenants", "Tenants")


@routes.post("/v1/tenants")
@routes.doc(responses={409: "The name is taken", 422: "Idempotency-Key used before"})
@routes.auth_required(auth, roles=["admin"])
@routes.input(TenantRegistration)
@routes.output(TenantAnswer, status_code=201)
def create_tenant(json_data: TenantRegistration) -> Response:
    """Make a tenant. `POST /v1/keys` with its `tenant_id` makes its first key."""
    check_operator()
    with services().database.session() as session:
        view, is_new = _create(session, json_data)
    headers = {"Location": url_for("tenants.read_tenant", tenant_id=view.id)}
    return respond(tenant_answer(view), 201, headers if is_new else {**headers, REPLAYED: "true"})


@routes.get("/v1/tenants")
@routes.auth_required(auth, roles=["admin"])
@routes.input(Cursor, location="query")
@routes.output(TenantPage)
def read_tenants(query_data: Cursor) -> TenantPage:
    """List the tenants that the caller may see."""
    with services().database.session() as session:
        if is_operator():
            page = list_tenants(session, after=query_data.after, limit=query_data.limit)
        else:
            page = Page((get_tenant(session, principal().tenant_id),), has_more=False)
    return page_of(TenantPage, [tenant_answer(view) for view in page.data], has_more=page.has_more)


@routes.get("/v1/tenants/<id:tenant_id>")
@routes.doc(responses={304: "Not modified"})
@routes.auth_required(auth, roles=["admin"])
@routes.output(TenantAnswer)
def read_tenant(tenant_id: str) -> Response:
    """Read a tenant: its weight, its quotas, how long its jobs are kept."""
    _check_seen(tenant_id)
    with services().database.session() as session:
        return respond(tenant_answer(get_tenant(session, tenant_id)))


@routes.patch("/v1/tenants/<id:tenant_id>")
@routes.auth_required(auth, roles=["admin"])
@routes.input(TenantChange)
@routes.output(TenantAnswer)
def patch_tenant(tenant_id: str, json_data: TenantChange) -> Response:
    """Change what is named; `null` lifts a quota."""
    _check_seen(tenant_id)
    check_operator()
    with services().database.session() as session:
        view = change_tenant(session, tenant_id, **_settings(json_data))
        note(session, tenant_id, Action.TENANT_CHANGED, tenant_id, principal().key_id)
    return respond(tenant_answer(view))


def _check_seen(tenant_id: str) -> None:
    """Raise TenantNotFound for a tenant that the caller may not know of, whether it exists or not."""
    if not is_operator() and tenant_id != principal().tenant_id:
        raise TenantNotFound(tenant_id)


def _create(session: Session, given: TenantRegistration) -> tuple[TenantView, bool]:
    """Make the tenant, or read the first one where the request is a repetition; and whether it was made."""
    key, tenant_id = key_of_request(), new_id("ten")
    if key is not None:
        body = given.model_dump_json(exclude_unset=True).encode()
        first_id = take(session, principal().tenant_id, key, fingerprint((body,)), tenant_id)
        if first_id != tenant_id:
            return get_tenant(session, first_id), False
    view = add_tenant(session, tenant_id, **_settings(given))
    note(session, tenant_id, Action.TENANT_CREATED, tenant_id, principal().key_id)
    return view, True


def _settings(given: TenantChange) -> dict[str, Any]:
    """What was given, by the registry's names."""
    settings = given.model_dump(exclude_unset=True)
    if "retention_s" in settings:
        settings["keep_s"] = settings.pop("retention_s")
    return settings
