"""The book of step costs: what one plan has measured, plans like it find, and no others."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from models.catalog import get_model
from tests.integration.workers.conftest import MODEL, Registry
from workers.device.book import CostBook
from workers.device.hardware import Device
from workers.device.plan import Plan
from workers.settings import WorkerSettings

COSTS = {"verify": {"batches": [1], "widths": [1], "seconds": [[0.01]]}, "draft": None}


@pytest.fixture
def plan(registry: Registry, tmp_path: Path) -> Plan:
    """A plan whose costs were measured at an earlier start."""
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"old")
    with registry.database.session() as session:
        model = replace(get_model(session, MODEL), source=str(weights))
    plan = Plan("wrk_1", "w", model, Device("cpu"), 8, 1, tmp_path / "engine.sock", WorkerSettings.from_env({}))
    with registry.database.session() as session:
        CostBook(plan).keep(session, COSTS)
    plan.costs.unlink()
    return plan


def is_known(registry: Registry, plan: Plan) -> bool:
    CostBook(plan).lay_out(registry.database)
    return plan.costs.exists()


def test_a_plan_like_the_first_is_told(registry: Registry, plan: Plan) -> None:
    assert is_known(registry, replace(plan, worker_id="wrk_2", name="another"))


@pytest.mark.parametrize(
    "change",
    [{"threads": 2}, {"rows": 4}, {"device": Device("cuda:0,cuda:1", (0, 1))}],
    ids=lambda change: next(iter(change)),
)
def test_another_plan_is_not(
    registry: Registry, plan: Plan, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.device.hardware._cuda_product", lambda index: f"GPU {index}")

    assert not is_known(registry, replace(plan, **change))


def test_another_number_format_or_other_weights_are_not(registry: Registry, plan: Plan) -> None:
    assert not is_known(registry, replace(plan, model=replace(plan.model, dtype="float64")))

    Path(plan.model.source).write_bytes(b"newer")
    assert not is_known(registry, plan)


def test_a_registry_that_is_away_costs_a_measurement_and_no_more(registry: Registry, plan: Plan) -> None:
    with registry.database.session() as session:
        session.execute(text("DROP TABLE step_costs"))

    assert not is_known(registry, plan)
