"""`skim skipset`: list, show, activate, roll back, and what was active before."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.client import Client
from cli.commands.search import BatchClass, DeviceKind, Model
from cli.errors import Missing
from cli.layers import Losses, layer_map, summary
from cli.session import session
from cli.views import Json

COLUMNS = ("id", "device_kind", "dtype", "batch_class", "is_active", "stale_since", "created_at", "activated_at")
HISTORY = ("at", "device_kind", "batch_class", "kind", "was", "became", "actor_id", "search_id")

app = typer.Typer(help="List, show and activate the skip sets of a model.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SkipSetId = Annotated[str, typer.Argument(metavar="SKIP_SET", help="The skip set's id.")]


@app.command("list")
def list_skip_sets(context: typer.Context, model: Model, as_json: AsJson = False) -> None:
    """List the skip sets that are known for MODEL, newest first."""
    here = session(context)
    with here.client() as client:
        page = client.skip_sets(model)
    here.print_page(page, COLUMNS, as_json=as_json)


@app.command()
def show(
    context: typer.Context,
    model: Model,
    skip_set: Annotated[str | None, typer.Argument(metavar="[SKIP_SET]", help="Default: the active ones.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw which sub-layers a skip set of MODEL leaves out, and what each of them costs."""
    here = session(context)
    with here.client() as client:
        num_layers = int(client.model(model)["num_layers"])
        shown = [client.skip_set(model, skip_set)] if skip_set else _active(client, model)
        if as_json:
            here.print_json(shown[0] if skip_set else {"object": "list", "data": shown})
            return
        for one in shown:
            here.out.print(summary(one, num_layers), highlight=False)
            here.out.print()
            for line in layer_map(one, num_layers, _losses(client, one), here.out.width):
                here.out.print(line)
    if not shown:
        here.err.print(
            f"no skip set of {model} is active: it drafts with the starting set, or plainly", highlight=False
        )


@app.command()
def activate(context: typer.Context, model: Model, skip_set: SkipSetId, as_json: AsJson = False) -> None:
    """Draft with this skip set where it was found for."""
    here = session(context)
    with here.client() as client:
        found = client.activate(model, skip_set)
    if as_json:
        here.print_json(found)
    else:
        here.out.print(f"{skip_set} is active", highlight=False)


@app.command()
def rollback(
    context: typer.Context,
    model: Model,
    device_kind: Annotated[DeviceKind, typer.Option(help="Where.")],
    batch_class: Annotated[BatchClass, typer.Option(help="Rows decoded together.")] = BatchClass.ONE,
    as_json: AsJson = False,
) -> None:
    """Undo the last activation of a place of MODEL."""
    here = session(context)
    with here.client() as client:
        found = client.roll_back(model, {"device_kind": device_kind, "batch_class": batch_class})
    if as_json:
        here.print_json(found)
    else:
        here.out.print(f"back from {found['was']} to {found['became'] or 'the starting set'}", highlight=False)


@app.command()
def history(
    context: typer.Context,
    model: Model,
    limit: Annotated[int, typer.Option("--limit", "-n", help="How many, newest first.", min=1)] = 20,
    as_json: AsJson = False,
) -> None:
    """List what was activated for MODEL, when and by which key or search."""
    here = session(context)
    with here.client() as client:
        page = client.activations(model, limit)
    here.print_page(page, HISTORY, as_json=as_json)


def _active(client: Client, model: str) -> list[Json]:
    return [one for one in client.skip_sets(model)["data"] if one["is_active"]]


def _losses(client: Client, skip_set: Json) -> dict[str, Losses] | None:
    """What the search measured of single sub-layers; nothing of one that is another tenant's, or was not one."""
    if skip_set["search_id"] is None:
        return None
    try:
        found = client.found(skip_set["search_id"])
    except Missing:
        return None
    losses = (found["report"] or {}).get("losses")
    return losses if isinstance(losses, dict) else None
