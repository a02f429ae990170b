"""The `skim` command: its tree of commands, and the one place where errors become exit codes."""

from __future__ import annotations

import sys

import typer
from rich.markup import escape
from typer.exceptions import TyperException

from cli.commands import audit, deliveries, demo, jobs, keys, models, results, stack, submit, tenants, worker
from cli.errors import INTERRUPTED, PIPE_CLOSED, SkimError, exit_codes
from cli.session import Session

app = typer.Typer(
    name="skim",
    invoke_without_command=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    epilog="Exit codes: " + ", ".join(f"{code} {meaning}" for code, meaning in exit_codes().items()),
)
app.command()(stack.up)
app.command()(stack.down)
app.command("status")(stack.show_status)
app.command()(submit.submit)
app.command()(jobs.jobs)
app.command()(jobs.show)
app.command()(results.results)
app.command()(jobs.cancel)
app.command()(jobs.retry)
app.command()(deliveries.deliveries)
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")
app.add_typer(tenants.app, name="tenants")
app.command()(audit.audit)
app.command()(worker.worker)
app.command()(demo.demo)


@app.callback()
def skim(context: typer.Context) -> None:
    """Asynchronous jobs for large language models, decoded fast and losslessly."""
    context.obj = Session.open()
    if context.invoked_subcommand is None:
        context.obj.out.print(context.get_help(), highlight=False)


def main() -> None:
    """Run a command and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code."""
    command = typer.main.get_command(app)
    try:
        code = command.main(args=arguments, prog_name="skim", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SkimError as error:
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except TyperException as error:
        return _fail(f"{error.format_message()} (see --help)", error.exit_code)
    except BrokenPipeError:
        return _close_pipe()


def _fail(message: str, code: int) -> int:
    Session.open().err.print(f"[red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    return code


def _close_pipe() -> int:
    """The reader of our output left (`| head`): end quietly, as other programs do."""
    sys.stdout = None
    return PIPE_CLOSED


if __name__ == "__main__":
    main()
