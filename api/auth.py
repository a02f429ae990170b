"""Who asks: `Authorization: Bearer sk-...` to a principal with a tenant and scopes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import cast

from apiflask import HTTPError, HTTPTokenAuth
from flask import Response, g, request
from sqlalchemy.exc import SQLAlchemyError

from api.errors import Forbidden, Unauthorized
from api.problems import respond
from api.services import services
from models.keys import Principal, Scope
from models.tenants import DEFAULT_ID

auth = HTTPTokenAuth(description="An API key: `sk-...`")


@auth.verify_token  # type: ignore[untyped-decorator]
def _principal_of(secret: str) -> Principal:
    found = _found(secret)
    if isinstance(found, Exception):
        raise found
    g.principal = found
    return found


def key_id_of_request() -> str | None:
    """The key that a request comes with, allowed or not; None if it comes with none that is good."""
    found = _found(getattr(auth.get_auth(), "token", None) or "")
    return None if isinstance(found, Exception) else found.key_id


def _found(secret: str) -> Principal | Exception:
    """Who asks, or why that cannot be said: asked once a request, be the database ever so slow."""
    if "asker" not in g:
        try:
            g.asker = _whose(secret)
        except Exception as error:
            g.asker = error
    return cast(Principal | Exception, g.asker)


def _whose(secret: str) -> Principal:
    if not secret:
        raise Unauthorized("send an API key as `Authorization: Bearer sk-...`")
    return services().keys.whose(secret)


def watch_key() -> Callable[[], None]:
    """A check for requests that last, also when their context has ended: it raises Unauthorized once their key is worth
    nothing any more. Of that a database that does not answer says nothing.
    """
    keys, secret = services().keys, auth.get_auth().token

    def check() -> None:
        with suppress(SQLAlchemyError):
            keys.whose(secret)

    return check


@auth.get_user_roles  # type: ignore[untyped-decorator]
def _scopes_of(caller: Principal) -> list[str]:
    """`admin` holds every other scope."""
    return list(Scope) if Scope.ADMIN in caller.scopes else list(caller.scopes)


@auth.error_processor
def _refuse(error: HTTPError) -> Response:
    if error.status_code == 403:
        scopes = ", ".join(sorted(principal().scopes))
        return respond(Forbidden(f"{request.method} {request.path} needs another scope; the key has {scopes}"))
    return respond(Unauthorized("the API key is wrong or was revoked"))


def is_operator() -> bool:
    """Whether the caller belongs to the tenant that runs the service."""
    return principal().tenant_id == DEFAULT_ID


def check_operator() -> None:
    """Raise Forbidden for everybody else."""
    if not is_operator():
        raise Forbidden("only administrators of the first tenant may do this")


def principal() -> Principal:
    """The caller of this request."""
    return cast(Principal, g.principal)
