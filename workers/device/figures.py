"""The figures of one device, read when they are asked for, and those of its nodes beside them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from workers.wire import Hello, Pulse

LABELS: Final = ("model", "device")


@dataclass(frozen=True, slots=True)
class Figures:
    """A device at this moment. `hello` is None while no engine is ready; `restarts` by child."""

    model: str
    device: str
    hello: Hello | None
    pulse: Pulse
    stalled_s: float
    restarts: Mapping[str, int]


class DeviceCollector(Collector):
    """Prometheus' view of what `read` gives."""

    def __init__(self, read: Callable[[], Figures]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """One sample a figure, and one a child."""
        now = self._read()
        place = (now.model, now.device)
        is_ready = now.hello is not None
        pulse = now.pulse if is_ready else Pulse(steps=0, rows=0, waiting=0)
        gauges = {
            "skim_engine_ready": ("Whether the engine has loaded and answers", float(is_ready)),
            "skim_engine_rows": ("Rows decoded together at most", now.hello.rows if now.hello else 0),
            "skim_engine_rows_busy": ("Rows being decoded", pulse.rows),
            "skim_engine_requests_waiting": ("Requests in the engine without a row", pulse.waiting),
            # Loading is no stall.
            "skim_engine_stalled_seconds": (
                "Since the engine made progress or was idle",
                now.stalled_s if is_ready else 0,
            ),
        }
        for name, (words, value) in gauges.items():
            yield _gauge(name, words, place, value)
        yield _memory(place, {"used": pulse.memory_used, "total": pulse.memory_total})
        steps = CounterMetricFamily("skim_engine_steps", "Rounds of the engine", labels=LABELS)
        steps.add_metric(place, pulse.steps)
        yield steps
        restarts = CounterMetricFamily("skim_child_restarts", "Processes started again", labels=(*LABELS, "child"))
        for child, number in now.restarts.items():
            restarts.add_metric((*place, child), number)
        yield restarts


def registry_of(read: Callable[[], Figures], folder: Path) -> CollectorRegistry:
    """The device's figures, and what its nodes have counted into `folder`, present ones and past."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    registry.register(DeviceCollector(read))
    return registry


def _gauge(name: str, words: str, place: tuple[str, str], value: float) -> Metric:
    family = GaugeMetricFamily(name, words, labels=LABELS)
    family.add_metric(place, value)
    return family


def _memory(place: tuple[str, str], sizes: Mapping[str, int | None]) -> Metric:
    family = GaugeMetricFamily("skim_device_memory_bytes", "Memory where the network lies", labels=(*LABELS, "kind"))
    for kind, size in sizes.items():
        if size is not None:
            family.add_metric((*place, kind), size)
    return family
