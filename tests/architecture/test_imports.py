"""The import rules: the contracts of pyproject.toml hold, nothing goes round in circles, torch stays in its room."""

from __future__ import annotations

import graphlib
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports

PACKAGES = ("api", "cli", "engine", "models", "workers")
# What the engine process is made of, which alone may load torch.
ENGINE_PROCESS = ("workers.serve", "workers.search.host", "workers.search.prices", "workers.search.report")


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports whom, torch and the other libraries included."""
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


def test_contracts_hold(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root))

    status = lint_imports(no_cache=True, no_logo=True)

    assert status == 0, capsys.readouterr().out


def test_imports_have_no_cycle(graph: grimp.ImportGraph) -> None:
    ours = {module for module in graph.modules if module.partition(".")[0] in PACKAGES}
    imported = {module: graph.find_modules_directly_imported_by(module) & ours for module in ours}

    order = tuple(graphlib.TopologicalSorter(imported).static_order())  # raises CycleError, which names the cycle

    assert set(order) == ours


def test_torch_is_loaded_by_the_engine_process_alone(graph: grimp.ImportGraph) -> None:
    loads_torch = graph.find_downstream_modules("torch")

    ours = {module for module in loads_torch if module.partition(".")[0] in PACKAGES}

    outside = {module for module in ours if not module.startswith("engine.")}
    assert {module for module in outside if not module.startswith(ENGINE_PROCESS)} == set()
