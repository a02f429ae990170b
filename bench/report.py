"""What every measurement says of itself: the device, the versions, the spread; and the files it leaves."""

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Spread:
    """Repeated measurements of one thing."""

    n: int
    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(len(values), median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self:.2f}"

    def __format__(self, how: str) -> str:
        """Each of its numbers in that format."""
        how = how or ".2f"
        return f"{self.median:{how}} ({self.low:{how}} to {self.high:{how}}, n={self.n})"


def device() -> str:
    """The processor or GPU in words."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores"


def save(name: str, results: Mapping[str, Any], table: str, module: str | None = None) -> Path:
    """Write ``name.json`` and ``name.md`` with the command and the device; returns the JSON's path.

    ``module`` of the bench was run, if it is not called like the results.
    """
    about = {
        "command": " ".join(["python -m", f"bench.{module or name}", *sys.argv[1:]]),
        "device": device(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**about, **results}, indent=2, default=_plain) + "\n")
    heading = f"`{about['command']}` on {about['device']}, torch {about['torch']}, {about['threads']} threads\n\n"
    (RESULTS / f"{name}.md").write_text(heading + table + "\n")
    return path


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
