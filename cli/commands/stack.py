"""`skim up`, `skim down`, `skim status`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cli.errors import SkimError, StackError
from cli.session import Session, session
from cli.signals import interruptible, uninterrupted
from cli.stack import demo_model
from cli.stack.down import take_down
from cli.stack.plan import Options
from cli.stack.programs import FLOWER_USER
from cli.stack.ready import await_workers
from cli.stack.state import State, Status, num_restarts, status
from cli.stack.up import Stack, bring_up
from cli.stack.watch import watch_stack
from cli.tables import table

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def up(
    context: typer.Context,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once the stack is up.")] = False,
    port: Annotated[int, typer.Option(help="Port of the API.", min=1, max=65535)] = 8000,
    flower_port: Annotated[int, typer.Option(help="Port of Flower.", min=1, max=65535)] = 5555,
    workers: Annotated[int, typer.Option(help="Workers on the CPU, which share its cores.", min=0, max=64)] = 1,
    model: Annotated[str, typer.Option(help="The model they serve.")] = demo_model.NAME,
    as_json: Json = False,
) -> None:
    """Start the local stack: Postgres, Redis, API, workers, beat and Flower. Ctrl-C stops it all (exit 0)."""
    here = session(context)
    options = Options(port=port, flower_port=flower_port, num_workers=workers, model=model)
    with interruptible():
        first_time = not here.home.flower_password.exists()
        stack = bring_up(here.home, here.settings, options, here.steps, detach=detach)
        if stack.was_running:
            _say_running(here, stack, options)
        else:
            _say_started(here, stack, shows_password=first_time)
        if as_json:
            here.print_json(status(here.home).document())
        if not stack.was_running:
            _stay(here, stack, detach=detach)


def down(context: typer.Context) -> None:
    """Stop the local stack in order, and whatever a killed one left behind."""
    here = session(context)
    if not here.home.has_secrets:
        here.steps.say("nothing is running")
        return
    with here.home.lock():
        was_running = take_down(here.home, here.steps)
    here.steps.say("the stack is down" if was_running else "nothing is running")


def show_status(context: typer.Context, as_json: Json = False) -> None:
    """Show what runs. Exits 3 if nothing does; with --json the answer says so and the exit status is 0."""
    here = session(context)
    found = status(here.home)
    if as_json:
        here.print_json(found.document())
        return
    if found.processes:
        here.out.print(_process_table(here, found))
    if found.state is None:
        more = "; `skim down` stops what was left behind" if found.processes else ""
        raise StackError(f"the stack is not running{more}")
    here.out.print(f"API     {found.state.api_url}\nFlower  {found.state.flower_url}", highlight=False)


def stop(here: Session) -> None:
    """Stop the stack, to the end."""
    with uninterrupted(), here.home.lock():
        take_down(here.home, here.steps)


def _stay(here: Session, stack: Stack, *, detach: bool) -> None:
    """Wait for the workers; then return, or watch over the stack until it is stopped."""
    began = time.monotonic()
    try:
        with here.steps.step("Waiting for the workers to load the model", "Workers ready"), stack.client() as client:
            await_workers(here.home, client, stack.state)
        if detach:
            here.steps.say("detached: `skim status` shows it, `skim down` stops it")
            return
        here.steps.say("Ctrl-C stops everything")
        watch_stack(here.home, stack.state, here.steps)
    except KeyboardInterrupt:
        here.steps.say(f"\nstopping after {time.monotonic() - began:,.0f} s")
        stop(here)
    except SkimError:
        stop(here)
        raise


def _say_running(here: Session, stack: Stack, options: Options) -> None:
    state = stack.state
    here.steps.say("the stack is already running")
    _say_addresses(here, state)
    asked = (f"http://127.0.0.1:{options.port}", options.num_workers, options.model)
    if asked != (state.api_url, state.num_workers, state.model):
        here.steps.say(f"[dim]with {state.num_workers} workers for {state.model}; `skim down` first to change that[/]")


def _say_started(here: Session, stack: Stack, *, shows_password: bool) -> None:
    _say_addresses(here, stack.state)
    if shows_password:
        password = here.home.flower_password.read_text().strip()
        here.steps.say(f"Flower's user is {FLOWER_USER}, its password {password} (shown once)")
    here.steps.say(f"[dim]passwords and the API key are in {here.home.root} (credentials, flower-password)[/]")


def _say_addresses(here: Session, state: State) -> None:
    here.steps.say(f"API     {state.api_url}  [dim](documentation: {state.api_url}/docs)[/]")
    here.steps.say(f"Flower  {state.flower_url}")


def _process_table(here: Session, found: Status) -> object:
    rows = []
    for process in found.processes:
        restarts = num_restarts(here.home, process.name)
        rows.append((process.name, str(process.pid or ""), process.state, str(restarts or ""), process.why))
    return table(("process", "pid", "state", "restarts", ""), rows)
