"""The audit of a tenant's keys, for its administrators."""

from __future__ import annotations

from api.adapter import blueprint
from api.auth import auth, principal
from api.schemas.answers import AuditAnswer
from api.schemas.lists import AuditPage
from api.schemas.pages import Cursor
from api.services import services
from api.views import page_of
from models.audit import list_audit

routes = blueprint("audit", "Keys")


@routes.get("/v1/audit")
@routes.auth_required(auth, roles=["admin"])
@routes.input(Cursor, location="query")
@routes.output(AuditPage)
def read_audit(query_data: Cursor) -> AuditPage:
    """List what was done with keys and to the tenant, newest first; uses of a key at most once a minute."""
    with services().database.session() as session:
        page = list_audit(session, principal().tenant_id, after=query_data.after, limit=query_data.limit)
    return page_of(AuditPage, [AuditAnswer.model_validate(view) for view in page.data], has_more=page.has_more)
