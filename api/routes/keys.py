"""API keys of the caller's tenant, with the admin scope."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response
from sqlalchemy.orm import Session

from api.adapter import blueprint
from api.auth import auth, check_operator, principal
from api.conditional import dump
from api.errors import InvalidFields
from api.idempotency import fingerprint, key_of_request
from api.schemas.answers import KeyAnswer
from api.schemas.lists import KeyPage
from api.schemas.pages import Cursor
from api.schemas.registrations import KeyRegistration
from api.services import services
from api.views import key_answer, page_of
from models.audit import Action, note
from models.idempotency import take
from models.keys import Scope, create_key, get_key, list_keys, revoke_key
from models.tenants import get_tenant

routes = blueprint("keys", "Keys")


@routes.post("/v1/keys")
@routes.doc(responses={404: "Unknown tenant", 422: "Idempotency-Key used before"})
@routes.auth_required(auth, roles=["admin"])
@routes.input(KeyRegistration)
@routes.output(KeyAnswer, status_code=201)
def create_api_key(json_data: KeyRegistration) -> Response:
    """Make a key. Its `secret` is in this answer and nowhere else, not even in a repetition of the request."""
    _check_expiry(json_data)
    with services().database.session() as session:
        answer = _create(session, json_data)
    response = Response(dump(answer), 201, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


@routes.get("/v1/keys")
@routes.auth_required(auth, roles=["admin"])
@routes.input(Cursor, location="query")
@routes.output(KeyPage)
def read_keys(query_data: Cursor) -> KeyPage:
    """List keys, without their secrets."""
    with services().database.session() as session:
        page = list_keys(session, principal().tenant_id, after=query_data.after, limit=query_data.limit)
    return page_of(KeyPage, [key_answer(view) for view in page.data], has_more=page.has_more)


@routes.delete("/v1/keys/<id:key_id>")
@routes.auth_required(auth, roles=["admin"])
@routes.output({}, status_code=204)
def delete_key(key_id: str) -> Response:
    """Revoke a key: it opens nothing from now on."""
    with services().database.session() as session:
        if revoke_key(session, principal().tenant_id, key_id):
            note(session, principal().tenant_id, Action.KEY_REVOKED, key_id, principal().key_id)
    return Response(status=204)


def _create(session: Session, given: KeyRegistration) -> KeyAnswer:
    """Make the key, or unmake it and answer with the first one where the request is a repetition."""
    key, tenant_id = key_of_request(), given.tenant_id or principal().tenant_id
    if tenant_id != principal().tenant_id:
        check_operator()
        get_tenant(session, tenant_id)
    attempt = session.begin_nested()
    scopes = frozenset(Scope(scope) for scope in given.scopes)
    view, secret = create_key(session, tenant_id, given.name, scopes, given.expires_at)
    if key is not None:
        first_id = take(session, principal().tenant_id, key, fingerprint((given.model_dump_json().encode(),)), view.id)
        if first_id != view.id:
            attempt.rollback()
            return key_answer(get_key(session, tenant_id, first_id))
    note(session, tenant_id, Action.KEY_CREATED, view.id, principal().key_id)
    return key_answer(view, secret)


def _check_expiry(given: KeyRegistration) -> None:
    if given.expires_at is not None and given.expires_at <= datetime.now(UTC):
        raise InvalidFields.of("expires_at", "lies in the past")
