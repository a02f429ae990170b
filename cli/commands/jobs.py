"""`skim jobs`, `skim show`, `skim cancel`, `skim retry`."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer

from cli.progress import check_outcome, watch
from cli.session import session
from cli.tables import items_table, job_table, jobs_table
from cli.views import Job

MAX_SHOWN_ITEMS = 50

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Lost(StrEnum):
    """What kept an item from its result."""

    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


def jobs(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many, newest first.", min=1)] = 20,
    status: Annotated[str | None, typer.Option(help="Only jobs of this status.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only jobs of this kind.")] = None,
    model: Annotated[str | None, typer.Option(help="Only jobs for this model.")] = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    here = session(context)
    with here.client() as client:
        page = client.jobs(limit, status=status, kind=kind, model=model)
    if as_json:
        here.print_json(page)
        return
    here.out.print(jobs_table(Job(row) for row in page["data"]))
    if page["has_more"]:
        here.err.print(f"[dim]there are more: --limit {limit * 2}[/]")


def show(
    context: typer.Context,
    job: JobId,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end first.")] = False,
    items: Annotated[bool, typer.Option(help="Show its items too.")] = True,
    as_json: AsJson = False,
) -> None:
    """Show a job and its items."""
    here = session(context)
    with here.client() as client:
        found = watch(client, job, here.err) if wait else client.job(job)
        if as_json:
            here.print_json(found.body)
        else:
            here.out.print(job_table(found))
            if items:
                here.out.print()
                here.out.print(items_table(islice(client.items(job), MAX_SHOWN_ITEMS)))
    if not as_json and items and found.num_items > MAX_SHOWN_ITEMS:
        here.err.print(f"[dim]the first {MAX_SHOWN_ITEMS} of {found.num_items} items: skim results {job}[/]")
    if wait:
        check_outcome(found)


def cancel(context: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Cancel a job. What has finished is kept."""
    here = session(context)
    with here.client() as client:
        found = client.cancel(job)
    if as_json:
        here.print_json(found.body)
    else:
        here.out.print(f"{found.id} {found.status if found.is_over else 'is being cancelled'}", highlight=False)


def retry(
    context: typer.Context,
    job: JobId,
    status: Annotated[list[Lost] | None, typer.Option(help="Only such items. May be repeated. Default: all.")] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end of the new job.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a new job of the items of JOB that failed, were cancelled or expired, and print its id."""
    here = session(context)
    with here.client() as client:
        found = client.retry(job, status or ())
        if wait:
            found = watch(client, found.id, here.err)
    if as_json:
        here.print_json(found.body)
    else:
        here.out.print(found.id, highlight=False)
    if wait:
        check_outcome(found)
