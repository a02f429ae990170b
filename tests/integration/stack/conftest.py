"""A supervisor with the real servers under it, in a home of its own that is taken down whatever happens."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from cli.settings import Settings
from cli.stack.account import server_account
from cli.stack.down import take_down
from cli.stack.home import Home
from cli.stack.plan import Options, Plan, make_plan
from cli.stack.ports import free_ports
from cli.stack.up import start_servers, start_supervised
from cli.steps import Steps


@pytest.fixture
def quiet() -> Steps:
    """Status lines that nobody sees."""
    return Steps(Console(quiet=True))


@pytest.fixture
def home(tmp_path: Path, quiet: Steps) -> Iterator[Home]:
    """A SKIM_HOME in which nothing is left running."""
    made = Home(tmp_path / "home")
    yield made
    take_down(made, quiet)
    shutil.rmtree(made.servers.resolve(), ignore_errors=True)  # as root it lies outside of tmp_path


@pytest.fixture
def start(home: Home) -> Callable[[], Plan]:
    """Does what `skim up` does, up to and with Postgres and Redis; nothing of Skim itself runs."""

    def start() -> Plan:
        account = server_account()
        home.prepare(account)
        port, flower_port = free_ports(20_000, 2)
        options = Options(port=port, flower_port=flower_port, num_workers=0, model="none")
        plan = make_plan(home, Settings.from_env({"SKIM_HOME": str(home.root)}), options, account)
        start_supervised(home, plan, detach=True)
        start_servers(plan)
        return plan

    return start
