"""Starts a stack: servers, migrations, services, model, workers. `bring_up` is the whole of it in order."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass

from cli.client import Client
from cli.errors import StackError
from cli.settings import Settings
from cli.signals import uninterrupted
from cli.stack import demo_model
from cli.stack.account import caller, server_account
from cli.stack.configuration import supervisor_configuration
from cli.stack.down import take_down
from cli.stack.folders import write_private
from cli.stack.home import Home
from cli.stack.plan import Options, Plan, check_ports, make_plan
from cli.stack.programs import API
from cli.stack.ready import await_api, ensure_model, stack_key
from cli.stack.state import State, mark_ready, running_state, write_state
from cli.stack.supervisor import await_supervisor, start_supervisor
from cli.steps import Steps

BOOTSTRAP_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack that is up. `was_running`: it already was, and nothing was started."""

    home: Home
    state: State
    key: str
    was_running: bool

    def client(self) -> Client:
        """A client with a key for it."""
        return Client(self.state.api_url, self.key)


def bring_up(home: Home, settings: Settings, options: Options, steps: Steps, *, detach: bool) -> Stack:
    """Start the stack of `home`, or find it running. Whatever goes wrong, nothing started is left.

    Raises:
        StackError: a port is taken, a part is missing or does not start.
    """
    account = server_account()
    home.prepare(account)
    with home.lock():
        state = running_state(home)
        if state is not None and state.is_ready:
            return Stack(home, state, stack_key(home, settings), was_running=True)
        take_down(home, steps)
        check_ports(options)
        plan = make_plan(home, settings, options, account)
        try:
            _start(home, settings, plan, steps, detach=detach)
            key = stack_key(home, settings)
        except BaseException:
            with uninterrupted():
                take_down(home, steps)
            raise
        return Stack(home, mark_ready(home, plan.state), key, was_running=False)


def _start(home: Home, settings: Settings, plan: Plan, steps: Steps, *, detach: bool) -> None:
    conversion = demo_model.start_conversion(home) if plan.state.model == demo_model.NAME else None
    try:
        start_supervised(home, plan, detach=detach)
        with steps.step("Starting Postgres and Redis", "Postgres and Redis"):
            start_servers(plan)
        with steps.step("Migrating the registry", "Registry migrated"):
            _bootstrap(home, plan)
        with steps.step("Starting the API", "API"):
            plan.state.supervisor.start(API)  # first and alone: the cores are few, and the model goes through it
            await_api(home, plan.state)
        if conversion is not None:
            with steps.step("Converting the demo model (once)", "Demo model converted"):
                conversion.finish()
    except BaseException:
        if conversion is not None:
            conversion.abandon()
        raise
    with steps.step("Starting workers, control node, beat and Flower", "Workers, control node, beat, Flower started"):
        ensure_model(home, plan.state, stack_key(home, settings))
        _start_rest(plan)


def start_supervised(home: Home, plan: Plan, *, detach: bool) -> None:
    """Start the supervisor, which starts nothing of its own accord. Raises StackError."""
    for stale in home.run.glob("*.json"):
        stale.unlink()
    text = supervisor_configuration(
        plan.programs,
        socket=plan.state.supervisor.path,
        run=home.run,
        logs=home.logs,
        is_root=os.geteuid() == 0,
    )
    configuration = home.run / "supervisor.conf"
    write_private(configuration, text, caller())
    write_state(home, plan.state)
    log = home.logs / "supervisor.out"
    pid = start_supervisor(
        configuration, home.run / "supervisor.json", log, plan.environment, dies_with_caller=not detach
    )
    await_supervisor(pid, plan.state.supervisor, log)


def start_servers(plan: Plan) -> None:
    """Start those of Postgres and Redis that are ours, and wait until they answer. Raises StackError."""
    if plan.postgres is not None:
        plan.postgres.prepare()
    if plan.redis is not None:
        plan.redis.prepare()
    for program in plan.servers:
        plan.state.supervisor.start(program.name)
    if plan.postgres is not None:
        plan.postgres.wait()
    if plan.redis is not None:
        plan.redis.wait()


def _bootstrap(home: Home, plan: Plan) -> None:
    """Migrate, and make the first key into SKIM_HOME/credentials."""
    done = subprocess.run(
        [sys.executable, "-m", "models.bootstrap"],
        env={**os.environ, **plan.environment, "SKIM_CREDENTIALS_FILE": str(home.credentials)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOOTSTRAP_TIMEOUT_S,
        cwd="/",
        check=False,
    )
    if done.returncode != 0:
        output = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise StackError(f"the registry could not be migrated: {output[-1] if output else done.returncode}")


def _start_rest(plan: Plan) -> None:
    """Workers before the others, as they have most to load. Nothing here is waited for."""
    for program in (*plan.workers, *plan.services):
        if program.name != API:
            plan.state.supervisor.start(program.name)
