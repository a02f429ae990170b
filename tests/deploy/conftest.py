"""The files of `deploy/`, and the metrics that the service really has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector
from sqlalchemy import create_engine

import api.meters
import workers.meters
import workers.queues.meters
from api.exposition import RegistryCollector
from models.database import Database
from models.gauges import FleetGauge, Gauges, QueueGauge
from models.states import Lane
from tests.integration.registry.conftest import database, registry
from workers.device.figures import DeviceCollector, Figures
from workers.wire import Pulse

__all__ = ["database", "registry"]  # fixtures

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MODULES: tuple[ModuleType, ...] = (api.meters, workers.meters, workers.queues.meters)
# Those of Prometheus itself, and the labels it gives every series.
FOREIGN = {"up": frozenset[str]()}
TARGET = frozenset({"job", "instance"})


class Seen(RegistryCollector):
    """The API's collector with one model in view."""

    def _look(self) -> Gauges:
        queue = QueueGauge("m", Lane.BULK, 1, 1, 1, 1, 1, 1.0, 1)
        return Gauges((queue,), (FleetGauge("m", 1, 1, 1, 1),), 1, 1, 1, 1.0)


@pytest.fixture(scope="session")
def metrics() -> Mapping[str, frozenset[str]]:
    """The labels of every series there is, by its name."""
    found = dict(FOREIGN)
    for module in MODULES:
        for meter in vars(module).values():
            if isinstance(meter, MetricWrapperBase):
                found |= dict.fromkeys(_series(meter), frozenset(meter._labelnames))
    pulse = Pulse(1, 1, 1, memory_used=1, memory_total=2)
    device = Figures("m", "cpu", None, pulse, 0.0, {"engine": 0})
    seen = Seen(Database(create_engine("postgresql+psycopg://")))
    for collector in (seen, DeviceCollector(lambda: device)):
        found |= _collected(collector)
    return found | {"skim_device_memory_bytes": frozenset({"model", "device", "kind"})}


def checker(name: str, package: str) -> str:
    """Where a program is that checks files of ours. Without it a test is skipped; but not in CI, which brings it."""
    found = shutil.which(name)
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed (Debian: {package})")
    return str(found)


def documents(path: Path) -> list[dict[str, Any]]:
    """What a YAML file has in it."""
    return [found for found in yaml.safe_load_all(path.read_text()) if found is not None]


def _series(meter: MetricWrapperBase) -> list[str]:
    match meter._type:
        case "counter":
            return [f"{meter._name}_total"]
        case "histogram":
            return [f"{meter._name}_{part}" for part in ("bucket", "sum", "count")]
    return [meter._name]


def _collected(collector: Collector) -> dict[str, frozenset[str]]:
    return {sample.name: frozenset(sample.labels) for family in collector.collect() for sample in family.samples}
