"""`skim results`: for people on a terminal, JSON Lines for files, pipes and `--json`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.markup import escape
from rich.progress import Progress

from cli.client import Client
from cli.errors import UsageError
from cli.progress import watch
from cli.session import Session, session
from cli.tables import rows_table

TRIALS = ("number", "source", "prompts", "speed", "spread", "acceptance", "draft_length", "bits")


def results(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write JSON Lines to this file instead.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the end of the job first.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON Lines (also when the output is no terminal).")
    ] = False,
) -> None:
    """Print the results of a job: one JSON document a line, or readable text on a terminal (also while it runs)."""
    here = session(context)
    with here.client() as client:
        if wait:
            watch(client, job, here.err)
        if output is not None:
            save_results(here, client, job, output)
        elif as_json or not here.out.is_terminal:
            _write_lines(client, job, sys.stdout)
        else:
            print_results(here, client, job)


def print_results(here: Session, client: Client, job_id: str) -> None:
    """Write every text under its name, for people to read; the text alone if there is one. Of a search, its trials."""
    if client.job(job_id).search is not None:
        here.out.print(rows_table(client.trials(job_id), TRIALS))
        return
    texts = (named for item in client.items(job_id) for named in item.texts.items())
    first = list(islice(texts, 2))
    if len(first) == 1:
        here.out.print(first[0][1], markup=False, highlight=False, soft_wrap=True)
        return
    for name, text in chain(first, texts):
        _print_text(here, name, text)


def save_results(here: Session, client: Client, job_id: str, path: Path) -> None:
    """Stream the results to `path`, which appears when it is whole.

    Raises:
        UsageError: the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    total = client.job(job_id).num_items
    try:
        with ExitStack() as stack:
            file = stack.enter_context(partial.open("w", encoding="utf-8"))
            bar = stack.enter_context(Progress(console=here.err, disable=not here.err.is_terminal, transient=True))
            task = bar.add_task("Writing results", total=total)
            lines = stack.enter_context(client.results(job_id))
            for line in lines:
                file.write(f"{line}\n")
                bar.advance(task)
        partial.rename(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    here.err.print(f"results of {job_id} are in {path}", highlight=False, soft_wrap=True)


def _write_lines(client: Client, job_id: str, to: TextIO) -> None:
    with client.results(job_id) as lines:
        for line in lines:
            to.write(f"{line}\n")


def _print_text(here: Session, name: str, text: str) -> None:
    here.out.print(f"[bold]{escape(name)}[/]", highlight=False, soft_wrap=True)
    here.out.print(f"{text}\n", markup=False, highlight=False, soft_wrap=True)
