"""Live status lines on standard error: a spinner while something runs, one line when it is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape


class Steps:
    """Reports what is being done. On a terminal the current step spins; elsewhere only finished lines are written."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, doing: str, done: str) -> Iterator[None]:
        """Show `doing` until the block ends, then leave `done` and the seconds it took."""
        began = time.monotonic()
        with self.console.status(escape(doing)):
            yield
        self.say(f"[green]✓[/] {escape(done)} [dim]{time.monotonic() - began:.1f} s[/]")

    def say(self, markup: str) -> None:
        """Write one line."""
        self.console.print(markup, highlight=False, soft_wrap=True)
