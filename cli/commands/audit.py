"""`skim audit`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.session import session
from cli.tables import rows_table

COLUMNS = ("at", "action", "subject_id", "actor_id")


def audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many, newest first.", min=1)] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what was done with keys and to the tenant, by which key."""
    here = session(context)
    with here.client() as client:
        page = client.audit(limit)
    if as_json:
        here.print_json(page)
        return
    here.out.print(rows_table(page["data"], COLUMNS))
    if page["has_more"]:
        here.err.print(f"[dim]there are more: --limit {limit * 2}[/]")
