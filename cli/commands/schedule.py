"""`skim schedule`: when a model is looked at for a better skip set."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commands.search import BatchClass, Model, Sampler, Source
from cli.commands.submit import given
from cli.session import Session, session
from cli.tables import facts_table
from cli.views import Json

NIGHTS = ("fire_time", "decision", "reason", "detail", "search_id", "outcome", "is_promoted", "note")

app = typer.Typer(help="Look after a model at night.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def show(context: typer.Context, model: Model, as_json: AsJson = False) -> None:
    """Show the schedule of MODEL and when it fires next."""
    here = session(context)
    with here.client() as client:
        _print(here, client.schedule(model), as_json=as_json)


@app.command("set")
def set_schedule(
    context: typer.Context,
    model: Model,
    cron: Annotated[str, typer.Argument(metavar="CRON", help="As in '30 2 * * *'.")],
    timezone: Annotated[str | None, typer.Option(help="As in Europe/Berlin. Default: UTC.")] = None,
    trials: Annotated[int | None, typer.Option(help="Candidates scored at most.", min=1)] = None,
    seconds: Annotated[float | None, typer.Option(help="Seconds of the device for looking.", min=0.001)] = None,
    window: Annotated[int | None, typer.Option(help="Seconds from the fire time in which to be done.", min=1)] = None,
    max_age: Annotated[int | None, typer.Option(help="Days after which a search is repeated.", min=1)] = None,
    source: Annotated[Source | None, typer.Option(help="Prompts. Default: recent.")] = None,
    sampler: Annotated[Sampler | None, typer.Option(help="Default: gp.")] = None,
    batch_class: Annotated[BatchClass | None, typer.Option(help="Rows decoded together. Default: 1.")] = None,
    promote: Annotated[bool, typer.Option(help="Activate what is found if it beats all there is.")] = True,
    paused: Annotated[bool, typer.Option("--paused", help="Keep it, but do not fire.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at MODEL at the times of CRON and search if it needs it."""
    here = session(context)
    body = given(
        cron=cron,
        timezone=timezone,
        budget=given(trials=trials, seconds=seconds) or None,
        window_s=window,
        max_age_days=max_age,
        calibration=source,
        sampler=sampler,
        batch_class=batch_class,
        promote=promote,
        is_paused=paused,
    )
    with here.client() as client:
        _print(here, client.set_schedule(model, body), as_json=as_json)


@app.command()
def remove(context: typer.Context, model: Model) -> None:
    """Look after MODEL no more."""
    here = session(context)
    with here.client() as client:
        client.remove_schedule(model)
    here.out.print(f"{model} has no schedule any more", highlight=False)


@app.command()
def nights(
    context: typer.Context,
    model: Model,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many, newest first.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """List what each night did, and why."""
    here = session(context)
    with here.client() as client:
        page = client.nights(model, limit)
    here.print_page(page, NIGHTS, as_json=as_json)


def _print(here: Session, found: Json, *, as_json: bool) -> None:
    if as_json:
        here.print_json(found)
        return
    hidden = ("id", "object", "budget")
    facts = {name: value for name, value in found.items() if name not in hidden}
    here.out.print(facts_table(facts | {"trials": found["budget"]["trials"], "seconds": found["budget"]["seconds"]}))
