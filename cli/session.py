"""What every command is given: settings, the two consoles, and a client for the right address with the right key."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import typer
from rich.console import Console

from cli.client import Client
from cli.settings import Settings
from cli.stack.home import Home
from cli.stack.ready import local_key
from cli.stack.state import running_state
from cli.steps import Steps
from cli.tables import rows_table
from cli.views import Json

DEFAULT_URL = "http://127.0.0.1:8000"
PIPED_WIDTH = 200  # columns of a table that no terminal limits


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the command. Answers go to `out`, everything else to `err`."""

    settings: Settings
    out: Console
    err: Console

    @classmethod
    def open(cls) -> Session:
        """Read the environment and look at where the output goes."""
        width = None if sys.stdout.isatty() else PIPED_WIDTH
        return cls(Settings.from_env(), Console(width=width), Console(stderr=True))

    @property
    def home(self) -> Home:
        """SKIM_HOME."""
        return Home(self.settings.home)

    @property
    def steps(self) -> Steps:
        """Status lines."""
        return Steps(self.err)

    def client(self) -> Client:
        """A client of SKIM_API_URL, else of the running stack, with SKIM_API_KEY, else the local key."""
        url = self.settings.api_url
        if url is None:
            state = running_state(self.home)
            url = state.api_url if state else DEFAULT_URL
        return Client(url, self.settings.api_key or local_key(self.home))

    def print_page(self, page: Json, columns: Sequence[str], *, as_json: bool) -> None:
        """Write a list that the API gave, as a table of these columns or as it came."""
        if as_json:
            self.print_json(page)
        else:
            self.out.print(rows_table(page["data"], columns))

    def print_json(self, document: object) -> None:
        """Write a document to standard output, indented."""
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def session(context: typer.Context) -> Session:
    """The session of a command."""
    found = context.find_object(Session)
    return found if found is not None else Session.open()
