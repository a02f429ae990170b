"""What the README says of commands, routes, exit codes and files is what there is, no less and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from api.app import create_app
from api.documentation import PROBLEM
from api.schemas.answers import ItemAnswer, JobAnswer
from api.settings import Settings
from cli.errors import exit_codes
from cli.main import app

Rows = Callable[[str], list[list[str]]]
# Answers that are no part of the contract: Swagger's own files.
UNLISTED_ROUTES = re.compile(r"/docs/.+")


def test_command_table_has_every_command(rows_under: Rows) -> None:
    listed = {_name(row[0]) for row in rows_under("Command line") if row[0].startswith("`skim")}

    assert listed == set(_commands())


def test_command_table_names_only_options_that_exist(rows_under: Rows) -> None:
    commands = _commands()
    listed = {_name(row[0]): _options_in(row[0]) for row in rows_under("Command line") if row[0].startswith("`skim")}

    assert {name: sorted(options - _options_of(commands[name])) for name, options in listed.items()} == {
        name: [] for name in listed
    }


def test_submit_options_are_all_named(readme: str) -> None:
    section = readme.split("\n## Command line\n")[1].split("\n## ", maxsplit=1)[0]

    assert _options_of(_commands()["skim submit"]) - {"--json", "--help"} <= _options_in(section)


def test_exit_codes_are_the_command_lines(rows_under: Rows) -> None:
    listed = {int(row[0]): row[1] for row in rows_under("Command line") if row[0].isdigit()}

    assert listed == exit_codes()


def test_route_table_is_the_apis(rows_under: Rows) -> None:
    service = create_app(Settings(database_url="postgresql+psycopg://", redis_url="redis://"))
    routes = {
        f"{method} {re.sub('<[^>]*>', '{}', rule.rule)}"
        for rule in service.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not UNLISTED_ROUTES.fullmatch(rule.rule)
    }
    listed = {re.sub(r"{\w+}", "{}", row[0].strip("`")) for row in rows_under("REST API") if " /" in row[0]}

    assert listed == routes


def test_examples_have_the_fields_of_the_answers(readme: str) -> None:
    job, item, problem = (json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", readme, re.M | re.S))

    assert list(job) == list(JobAnswer.model_fields)
    assert list(item) == list(ItemAnswer.model_fields)
    assert set(problem) == set(PROBLEM["properties"])
    assert set(problem["error"]) == set(PROBLEM["properties"]["error"]["properties"])


def test_make_targets_exist(readme: str, root: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    named = {
        word
        for call in re.findall(r"^make ([^\n]*)$|`make ([^`\n]*)`", readme, re.MULTILINE)
        for word in (call[0] or call[1]).split()
        if word.isalpha()
    }
    assert named - targets == set()


def test_files_and_sections_that_are_linked_exist(readme: str, root: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", readme) if "://" not in link]
    headings = {_anchor(line.lstrip("# ")) for line in readme.splitlines() if line.startswith("#")}
    missing = [link for link in links if not (link[1:] in headings if link.startswith("#") else (root / link).exists())]
    assert missing == []


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "samples/README"])
def test_lines_fit_a_screen(root: Path, name: str) -> None:
    lines = (root / name).read_text().splitlines()

    assert [line for line in lines if len(line) > 140 and not line.startswith("|")] == []


def _name(cell: str) -> str:
    """`skim models add NAME --source [--dtype]`, in the table, is the command `skim models add`."""
    return " ".join(re.findall(r"^`(skim(?: [a-z]+)*)", cell)[0].split())


def _commands() -> dict[str, TyperCommand]:
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    return dict(_leaves("skim", root))


def _leaves(name: str, group: TyperGroup) -> Iterator[tuple[str, TyperCommand]]:
    for word, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _leaves(f"{name} {word}", command)
        elif isinstance(command, TyperCommand):
            yield f"{name} {word}", command


def _options_in(text: str) -> set[str]:
    return set(re.findall(r"--[a-z][a-z-]*", text))


def _options_of(command: TyperCommand) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
