"""The secret that a tenant's webhooks are signed with."""

from __future__ import annotations

from flask import Response

from api.adapter import blueprint
from api.auth import auth, principal
from api.conditional import dump
from api.schemas.answers import SecretAnswer
from api.services import services
from models.deliveries import rotate_secret, secret_of

routes = blueprint("webhooks", "Webhooks")


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
