"""`skim deliveries`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.session import session

COLUMNS = ("id", "status", "attempts", "next_attempt_at", "ended_at", "last_error", "url")


def deliveries(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")],
    retry: Annotated[str | None, typer.Option(metavar="DELIVERY", help="Send this one again first.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what was sent to a job's webhook, what came back, and when it is tried next."""
    here = session(context)
    with here.client() as client:
        if retry is not None:
            client.deliver_again(job, retry)
        page = client.deliveries(job)
    here.print_page(page, COLUMNS, as_json=as_json)
