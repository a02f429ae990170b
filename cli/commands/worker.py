"""`skim worker`: becomes a worker for one model on one device."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from cli.errors import UsageError
from cli.session import session
from cli.stack.state import running_state


def worker(
    context: typer.Context,
    model: Annotated[str, typer.Option(help="A registered model.")],
    device: Annotated[
        str, typer.Option(help="cpu, cuda:0, cuda:1, ...; cuda:0,cuda:1 for a model on several.")
    ] = "cpu",
    name: Annotated[str | None, typer.Option(help="Default: made of host and device.")] = None,
    rows: Annotated[int | None, typer.Option(help="Sequences decoded together.", min=1)] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads. Default: cores / engines.", min=1)] = None,
) -> None:
    """Run a worker in the foreground: for the local stack, or wherever SKIM_DATABASE_URL and SKIM_REDIS_URL point."""
    here = session(context)
    state = running_state(here.home)
    database_url = here.settings.database_url or (state.database_url if state else None)
    redis_url = here.settings.redis_url or (state.redis_url if state else None)
    if not database_url or not redis_url:
        raise UsageError("no stack is running here: set SKIM_DATABASE_URL and SKIM_REDIS_URL, or run `skim up`")
    options = {"--model": model, "--device": device, "--name": name, "--rows": rows, "--threads": threads}
    arguments = [part for option, value in options.items() if value is not None for part in (option, str(value))]
    environment = {
        **os.environ,
        "SKIM_HOME": str(here.home.root),
        "SKIM_DATABASE_URL": database_url,
        "SKIM_REDIS_URL": redis_url,
    }
    command = [sys.executable, "-m", "workers.device", *arguments]
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell is wanted
