"""`skim keys`: create, list, revoke."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from cli.commands.submit import given
from cli.session import session

COLUMNS = ("id", "name", "prefix", "scopes", "created_at", "expires_at", "revoked_at", "last_used_at")

app = typer.Typer(help="Create, list and revoke API keys.", invoke_without_command=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Scope(StrEnum):
    """What a key may do."""

    JOBS = "jobs"
    MODELS = "models"
    METRICS = "metrics"
    ADMIN = "admin"


@app.callback()
def keys(context: typer.Context, as_json: AsJson = False) -> None:
    """Create, list and revoke API keys."""
    if context.invoked_subcommand is None:
        list_keys(context, as_json)


@app.command("list")
def list_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """List the keys. Secrets cannot be shown again."""
    here = session(context)
    with here.client() as client:
        page = client.keys()
    here.print_page(page, COLUMNS, as_json=as_json)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")] = "unnamed",
    scope: Annotated[list[Scope] | None, typer.Option(help="May be repeated. Default: jobs.")] = None,
    days: Annotated[int | None, typer.Option(help="Expire after this many days.", min=1)] = None,
    tenant: Annotated[str | None, typer.Option(metavar="TENANT", help="For this tenant. Default: one's own.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print its secret, once."""
    here = session(context)
    expires_at = (datetime.now(UTC) + timedelta(days=days)).isoformat() if days else None
    registration = given(name=name, scopes=list(scope or [Scope.JOBS]), expires_at=expires_at, tenant_id=tenant)
    with here.client() as client:
        made = client.create_key(registration)
    if as_json:
        here.print_json(made)
        return
    here.out.print(made["secret"], highlight=False)
    here.err.print(f"[dim]{made['id']}: shown this once; use it as SKIM_API_KEY[/]", highlight=False)


@app.command()
def revoke(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's id.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a key for good."""
    here = session(context)
    with here.client() as client:
        found = client.revoke_key(key)
    if as_json:
        here.print_json(found)
    else:
        here.out.print(f"{key} is revoked", highlight=False)
