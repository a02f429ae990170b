"""What became of a job's webhook, and the secret that a tenant's are signed with."""

from __future__ import annotations

from flask import Response

from api.adapter import blueprint
from api.auth import auth, principal
from api.conditional import dump, respond
from api.idempotency import is_first
from api.schemas.answers import DeliveryAnswer, SecretAnswer
from api.schemas.lists import DeliveryPage
from api.schemas.pages import Cursor
from api.services import services
from api.views import page_of
from models.deliveries import deliver_again, get_delivery, list_deliveries, rotate_secret, secret_of

routes = blueprint("webhooks", "Webhooks")


@routes.get("/v1/jobs/<id:job_id>/deliveries")
@routes.auth_required(auth, roles=["jobs"])
@routes.input(Cursor, location="query")
@routes.output(DeliveryPage)
def read_deliveries(job_id: str, query_data: Cursor) -> DeliveryPage:
    """List what was sent to the job's `webhook_url`: how often, what came back, and when it is tried next."""
    tenant_id = principal().tenant_id
    with services().database.session() as session:
        page = list_deliveries(session, tenant_id, job_id, after=query_data.after, limit=query_data.limit)
    return page_of(DeliveryPage, [DeliveryAnswer.model_validate(view) for view in page.data], has_more=page.has_more)


@routes.post("/v1/jobs/<id:job_id>/deliveries/<id:delivery_id>/retry")
@routes.doc(responses={422: "Idempotency-Key used before"})
@routes.auth_required(auth, roles=["jobs"])
@routes.output(DeliveryAnswer)
def retry_delivery(job_id: str, delivery_id: str) -> Response:
    """Send it again, whether it was given up, accepted or waits: at once, and as often as a new one."""
    tenant_id = principal().tenant_id
    with services().database.session() as session:
        if is_first(session, tenant_id):
            deliver_again(session, tenant_id, job_id, delivery_id)
        view = get_delivery(session, tenant_id, job_id, delivery_id)
    return respond(DeliveryAnswer.model_validate(view))


@routes.get("/v1/webhooks/secret")
@routes.auth_required(auth, roles=["admin"])
@routes.output(SecretAnswer)
def read_secret() -> Response:
    """Read the secret, which is made when it is first needed."""
    with services().database.session() as session:
        return _answer(secret_of(session, principal().tenant_id))


@routes.post("/v1/webhooks/secret")
@routes.auth_required(auth, roles=["admin"])
@routes.output(SecretAnswer)
def replace_secret() -> Response:
    """Replace the secret; what is delivered from now on is signed with the new one."""
    with services().database.session() as session:
        return _answer(rotate_secret(session, principal().tenant_id))


def _answer(secret: str) -> Response:
    response = Response(dump(SecretAnswer(secret=secret)), content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
