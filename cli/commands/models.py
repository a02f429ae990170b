"""`skim models`: list, show, add."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.commands.submit import given
from cli.session import session
from cli.tables import rows_table

COLUMNS = ("name", "architecture", "num_layers", "dtype", "context_length", "source", "created_at")

app = typer.Typer(help="List, show and register models.", invoke_without_command=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]


class Dtype(StrEnum):
    """Number formats of the weights."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT64 = "float64"
    INT8 = "int8"


@app.callback()
def models(context: typer.Context, as_json: AsJson = False) -> None:
    """List, show and register models."""
    if context.invoked_subcommand is None:
        list_models(context, as_json)


@app.command("list")
def list_models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the registered models."""
    here = session(context)
    with here.client() as client:
        page = client.models()
    here.print_page(page, COLUMNS, as_json=as_json)


@app.command()
def show(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Show one model."""
    here = session(context)
    with here.client() as client:
        found = client.model(name)
    if as_json:
        here.print_json(found)
    else:
        here.out.print(rows_table([found], COLUMNS))


@app.command()
def add(
    context: typer.Context,
    name: Name,
    source: Annotated[str, typer.Option(help="Hub id, folder of safetensors, or GGUF file below SKIM_HOME/models.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")] = None,
    dtype: Annotated[Dtype | None, typer.Option(help="Default: as the weights are.")] = None,
    context_length: Annotated[int | None, typer.Option(help="Default: the model's own.", min=16)] = None,
    as_json: AsJson = False,
) -> None:
    """Register a model. A worker for it starts with: skim worker --model NAME."""
    here = session(context)
    # A path is the API's to open, whose working folder is another.
    place = str(Path(source).resolve()) if Path(source).exists() else source
    registration = given(name=name, source=place, revision=revision, dtype=dtype, context_length=context_length)
    with here.client() as client, here.err.status(f"Registering {name}"):
        found = client.add_model(registration)
    if as_json:
        here.print_json(found)
    else:
        here.out.print(f"{name} is registered; serve it with: skim worker --model {name}", highlight=False)
