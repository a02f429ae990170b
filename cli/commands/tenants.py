"""`skim tenants`: list, create, set."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.commands.submit import given
from cli.errors import UsageError
from cli.session import session
from cli.tables import rows_table
from cli.views import Json

COLUMNS = (
    "id",
    "name",
    "weight",
    "max_open_jobs",
    "max_open_items",
    "max_queued_tokens",
    "retention_s",
    "allows_calibration",
    "created_at",
)
NONE = "none"

app = typer.Typer(help="List, create and change tenants.", invoke_without_command=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _limit(text: str) -> int | str:
    if text == NONE:
        return NONE
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is neither a whole number nor {NONE}")
    return int(text)


Weight = Annotated[int | None, typer.Option(help="Share of a busy device, relative to other tenants.", min=1)]
Jobs = Annotated[Any, typer.Option("--max-jobs", parser=_limit, metavar="N|none", help="Unfinished jobs at a time.")]
Items = Annotated[Any, typer.Option("--max-items", parser=_limit, metavar="N|none", help="Items in them.")]
Tokens = Annotated[Any, typer.Option("--max-tokens", parser=_limit, metavar="N|none", help="Tokens still to come.")]
Retention = Annotated[Any, typer.Option(parser=_limit, metavar="SECONDS|none", help="How long its jobs are kept.")]
Calibration = Annotated[
    bool | None, typer.Option("--calibration/--no-calibration", help="Whether its prompts may tune skip sets.")
]


@app.callback()
def tenants(context: typer.Context, as_json: AsJson = False) -> None:
    """List, create and change tenants."""
    if context.invoked_subcommand is None:
        list_tenants(context, as_json)


@app.command("list")
def list_tenants(context: typer.Context, as_json: AsJson = False) -> None:
    """List the tenants that the key may see."""
    here = session(context)
    with here.client() as client:
        page = client.tenants()
    here.print_page(page, COLUMNS, as_json=as_json)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose jobs it will own.")],
    weight: Weight = None,
    max_jobs: Jobs = None,
    max_items: Items = None,
    max_tokens: Tokens = None,
    retention: Retention = None,
    calibration: Calibration = None,
    as_json: AsJson = False,
) -> None:
    """Create a tenant and print its id. Its first key: skim keys create NAME --tenant ID."""
    here = session(context)
    settings = _settings(weight, max_jobs, max_items, max_tokens, retention, calibration)
    with here.client() as client:
        made = client.create_tenant({"name": name, **settings})
    if as_json:
        here.print_json(made)
    else:
        here.out.print(made["id"], highlight=False)


@app.command("set")
def change(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id.")],
    weight: Weight = None,
    max_jobs: Jobs = None,
    max_items: Items = None,
    max_tokens: Tokens = None,
    retention: Retention = None,
    calibration: Calibration = None,
    as_json: AsJson = False,
) -> None:
    """Change what is named of a tenant; "none" lifts a limit."""
    here = session(context)
    settings = _settings(weight, max_jobs, max_items, max_tokens, retention, calibration)
    if not settings:
        raise UsageError("nothing to change: name an option")
    with here.client() as client:
        found = client.change_tenant(tenant, settings)
    if as_json:
        here.print_json(found)
    else:
        here.out.print(rows_table([found], COLUMNS))


def _settings(
    weight: int | None,
    max_jobs: int | str | None,
    max_items: int | str | None,
    max_tokens: int | str | None,
    retention: int | str | None,
    calibration: bool | None,
) -> Json:
    """What was named, by the API's names."""
    named = given(
        weight=weight,
        max_open_jobs=max_jobs,
        max_open_items=max_items,
        max_queued_tokens=max_tokens,
        retention_s=retention,
        allows_calibration=calibration,
    )
    return {name: None if value == NONE else value for name, value in named.items()}
