"""The supervisor's configuration says what was meant, whatever characters paths and passwords hold."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

from cli.stack import programs
from cli.stack.configuration import supervisor_configuration
from cli.stack.programs import Program


def _render(*items: Program, folder: str = "/home") -> configparser.RawConfigParser:
    text = supervisor_configuration(
        items, socket=Path("/s/supervisor.sock"), run=Path(folder), logs=Path("/logs"), is_root=False
    )
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return parser


def test_command_survives_spaces_quotes_and_percent_signs() -> None:
    odd = Program("odd", 1, ("/bin/echo", "two words", "100%", "it's", 'say "no"'))

    command = _render(odd)["program:odd"]["command"].replace("%%", "%")

    assert tuple(shlex.split(command)[-5:]) == odd.command


def test_every_process_leaves_its_record() -> None:
    command = shlex.split(_render(programs.beat())["program:beat"]["command"])

    assert command[command.index("--record") + 1] == "/home/beat.json"


def test_secrets_stay_out_of_arguments() -> None:
    section = _render(programs.flower(5555, "hush"))["program:flower"]

    assert "hush" not in section["command"]
    assert 'FLOWER_BASIC_AUTH="skim:hush"' in section["environment"]
    assert 'FLOWER_READ_ONLY="true"' in section["environment"]
    assert 'FLOWER_MAX_TASKS="1000"' in section["environment"]  # each takes 5 KiB, and its own limit is 100,000


def test_stopping_order_is_the_starting_order_reversed() -> None:
    started = [
        programs.api(1),
        programs.flower(2, "p"),
        programs.beat(),
        programs.control(),
        programs.worker(1, "m", 1),
    ]
    order = [program.order for program in started]

    assert order == sorted(order)
    assert [int(_render(one)[f"program:{one.name}"]["priority"]) for one in started] == order


def test_workers_share_the_cores() -> None:
    alone, one_of_many = programs.worker(1, "m", 1), programs.worker(1, "m", 1000)

    assert int(alone.command[-1]) >= int(one_of_many.command[-1]) == 1
