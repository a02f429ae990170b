"""Files of formats that no checker of ours has a schema of: read into the models of a library, they come out whole.

A model drops what it does not know, so a name that is misspelt is missing afterwards.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.deploy.conftest import DEPLOY, checker, documents

BOARD = json.loads((DEPLOY / "grafana/skim.json").read_text())
TRUST, SCALED = documents(DEPLOY / "kubernetes/keda.yaml")
Read = Callable[[Any], Any]


def scaled(given: Any) -> Any:
    return keda.ScaledObject.model_validate(given).model_dump(mode="json", by_alias=True)


def trust(given: Any) -> Any:
    return keda.TriggerAuthentication.model_validate(given).model_dump(mode="json", by_alias=True)


def board(given: Any) -> Any:
    plugins.register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(given)))


def lost(given: Any, kept: Any, place: str = "") -> Iterator[str]:
    """Where `given` says something that `kept` does not."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            yield from lost(value, kept.get(name), f"{place}.{name}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(one, other, f"{place}[{number}]")
    elif given != kept:
        yield place


@pytest.mark.parametrize(
    ("given", "read"), [(TRUST, trust), (SCALED, scaled), (BOARD, board)], ids=["authentication", "scaler", "dashboard"]
)
def test_nothing_is_unknown(given: Any, read: Read) -> None:
    assert list(lost(given, read(given))) == []


@pytest.mark.parametrize(
    ("given", "read", "into"),
    [(SCALED, scaled, ("spec",)), (SCALED, scaled, ("spec", "triggers", 0)), (BOARD, board, ("panels", 0, "gridPos"))],
)
def test_a_name_that_is_misspelt_is_found(given: Any, read: Read, into: tuple[str | int, ...]) -> None:
    wrong = deepcopy(given)
    place = wrong
    for step in into:
        place = place[step]
    place["misspelt"] = 1

    assert [path.rpartition(".")[2] for path in lost(wrong, read(wrong))] == ["misspelt"]


def test_kustomize_builds_what_is_listed() -> None:
    wanted = [one["kind"] for path in (DEPLOY / "kubernetes").glob("*.yaml") for one in documents(path)]

    kubectl = checker("kubectl", "kubernetes-client")

    done = subprocess.run(
        [kubectl, "kustomize", str(DEPLOY / "kubernetes")], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert sorted([*(one["kind"] for one in built), "Kustomization"]) == sorted(wanted)
    assert {one["metadata"]["namespace"] for one in built} == {"skim"}
