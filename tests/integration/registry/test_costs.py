"""Step costs: found where everything they depend on is the same, and nowhere else."""

from dataclasses import replace
from typing import Any

import pytest

from models.costs import CostKey, find_costs, keep_costs
from tests.integration.registry.conftest import MODEL, Registry

KEY = CostKey(MODEL, "weights", "cpu", "Some Processor", "float32", 2, 16, "engine")
COSTS = {"verify": {"batches": [1], "widths": [1, 4], "seconds": [[0.0123456789012345, 0.02]]}, "draft": None}


def keep(registry: Registry, costs: dict[str, Any], key: CostKey = KEY) -> None:
    with registry.database.session() as session:
        keep_costs(session, key, costs)


def found(registry: Registry, key: CostKey = KEY) -> dict[str, Any] | None:
    with registry.database.session() as session:
        return find_costs(session, key)


def test_what_was_kept_is_found_as_it_was(registry: Registry) -> None:
    assert found(registry) is None
    keep(registry, COSTS)

    assert found(registry) == COSTS


def test_later_costs_take_the_place_of_earlier_ones(registry: Registry) -> None:
    keep(registry, COSTS)
    keep(registry, {"verify": 2})

    assert found(registry) == {"verify": 2}
    assert registry.rows("SELECT count(*) FROM step_costs") == [(1,)]


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "others"},
        {"device_kind": "cuda"},
        {"device": "Another Processor"},
        {"dtype": "bfloat16"},
        {"threads": 4},
        {"rows": 8},
        {"engine": "newer"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_differs_is_a_miss(registry: Registry, change: dict[str, Any]) -> None:
    keep(registry, COSTS)

    assert found(registry, replace(KEY, **change)) is None


def test_a_model_that_is_gone_keeps_no_costs(registry: Registry) -> None:
    keep(registry, COSTS)
    registry.rows("DELETE FROM models WHERE name = :name", name=MODEL)
    keep(registry, COSTS)

    assert registry.rows("SELECT count(*) FROM step_costs") == [(0,)]
