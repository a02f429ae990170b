"""`skim search`: look for the skip set a model drafts fastest with."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import Client
from cli.commands.submit import given
from cli.documents import read_inputs
from cli.errors import UsageError
from cli.progress import check_outcome, watch
from cli.session import Session, session
from cli.tables import search_table
from cli.views import Job, Json


class Sampler(StrEnum):
    """What proposes candidates after the warm start."""

    GP = "gp"
    TPE = "tpe"
    RANDOM = "random"
    GREEDY = "greedy"


class DeviceKind(StrEnum):
    """Kinds of device."""

    CPU = "cpu"
    CUDA = "cuda"


class BatchClass(StrEnum):
    """Rows decoded together."""

    ONE = "1"
    FEW = "2-4"
    MANY = "5+"


class Source(StrEnum):
    """Where prompts come from that are not given."""

    RECENT = "recent"
    BUILTIN = "builtin"


Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")]


def search(
    context: typer.Context,
    model: Model,
    trials: Annotated[int | None, typer.Option(help="Candidates scored at most.", min=1)] = None,
    seconds: Annotated[float | None, typer.Option(help="Seconds of the device for looking.", min=0.001)] = None,
    calibration: Annotated[
        list[str] | None, typer.Option(help="Prompts to judge by: text or JSON Lines. May be repeated.")
    ] = None,
    source: Annotated[Source | None, typer.Option(help="Without --calibration. Default: recent.")] = None,
    sampler: Annotated[Sampler | None, typer.Option(help="Default: greedy.")] = None,
    device_kind: Annotated[DeviceKind | None, typer.Option(help="Default: that of the model's workers.")] = None,
    batch_class: Annotated[BatchClass | None, typer.Option(help="Rows decoded together. Default: 1.")] = None,
    promote: Annotated[bool, typer.Option(help="Activate what is found if it beats all there is.")] = True,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    workers: Annotated[int | None, typer.Option(help="Workers that may share it. Default: 1.", min=1, max=8)] = None,
    deadline: Annotated[int | None, typer.Option(help="Seconds until the search expires.", min=1)] = None,
    watched: Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")] = False,
    report: Annotated[Path | None, typer.Option(help="With --watch: write its picture to this HTML file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the job as JSON.")] = False,
) -> None:
    """Search for the skip set that MODEL drafts fastest with, and print the job's id.

    `skim cancel` stops it, `skim retry` goes on where it was, `skim results` prints every trial.
    """
    here = session(context)
    if report is not None and not watched:
        raise UsageError("--report needs --watch")
    body = given(
        kind="search",
        model=model,
        budget=given(trials=trials, seconds=seconds) or None,
        calibration=_calibration(calibration, source),
        promote=None if promote else False,
        sampler=sampler,
        device_kind=device_kind,
        batch_class=batch_class,
        seed=seed,
        workers=workers,
        deadline_s=deadline,
    )
    with here.client() as client:
        job = client.search(body)
        if watched:
            here.err.print(f"[dim]job {job.id}[/]", highlight=False)
            job = watch(client, job.id, here.err)
            _save(client, job, report)
        _report(here, job, has_waited=watched, as_json=as_json)
    if watched:
        check_outcome(job)


def _calibration(files: list[str] | None, source: Source | None) -> Json | None:
    if files is None:
        return None if source is None else {"source": source}
    if source is not None:
        raise UsageError("--calibration brings its own prompts: leave --source out")
    _, inputs = read_inputs(files, "generate", sys.stdin.buffer)
    prompts: list[dict[str, Any]] = [
        {name: value for name, value in one.items() if name in ("prompt", "messages")} for one in inputs
    ]
    return {"source": "inline", "prompts": prompts}


def _save(client: Client, job: Job, report: Path | None) -> None:
    if report is None:
        return
    try:
        report.write_text(client.report(job.id), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{report}: {error.strerror}") from error


def _report(here: Session, job: Job, *, has_waited: bool, as_json: bool) -> None:
    if as_json:
        here.print_json(job.body)
    elif has_waited:
        here.out.print(search_table(job))
    else:
        here.out.print(job.id, highlight=False)
