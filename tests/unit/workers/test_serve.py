"""What an engine process makes of step costs that somebody measured before."""

import json
from pathlib import Path

import pytest

from engine.costs import StepCosts
from workers.serve import known_costs

COSTS = StepCosts.assumed()


def test_what_was_measured_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(COSTS.to_json()))

    assert known_costs(path, can_skip=True) == COSTS


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        '{"verify": 1, "draft": null}',
        '{"starts": 1}',
        '{"verify": {"batches": [1]}}',
        "\x80",
    ],
)
def test_what_makes_no_sense_is_measured_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "costs.json"
    path.write_bytes(content.encode("latin-1"))

    assert known_costs(path, can_skip=False) is None


def test_nothing_there_is_no_fault(tmp_path: Path) -> None:
    assert known_costs(tmp_path / "costs.json", can_skip=True) is None


def test_a_network_that_skips_needs_the_costs_of_skipping(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_text(json.dumps({**COSTS.to_json(), "draft": None}))

    assert known_costs(path, can_skip=True) is None
    assert known_costs(path, can_skip=False) == StepCosts(COSTS.verify)


def test_costs_of_a_release_that_did_not_time_drawing_are_measured_anew(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_text(json.dumps({name: value for name, value in COSTS.to_json().items() if name != "draw"}))

    assert known_costs(path, can_skip=True) is None
