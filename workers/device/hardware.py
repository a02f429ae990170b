"""Whether a device exists and how to pin a process to it. Asks the driver, not torch."""

import ctypes
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workers.errors import DeviceMissing

_CUDA = re.compile(r"cuda:(\d{1,3})")


@dataclass(frozen=True, slots=True)
class Device:
    """`cpu`, or the CUDA devices that a model is spread over, by `indices` among those this process may see."""

    name: str
    indices: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        return "cuda" if self.indices else "cpu"

    @property
    def product(self) -> str:
        """What it is sold as, as far as the machine says: `NVIDIA H100, NVIDIA H100`."""
        return ", ".join(map(_cuda_product, self.indices)) if self.indices else _cpu_product()

    @property
    def inner_name(self) -> str:
        """What the engine calls it, which sees no other devices than its own: `cuda:2,cuda:5` is `cuda:0,cuda:1`."""
        return ",".join(f"cuda:{number}" for number in range(len(self.indices))) or "cpu"

    @classmethod
    def find(cls, name: str) -> "Device":
        """The device of that name.

        Raises:
            DeviceMissing: it does not exist here; the message says what does.
        """
        if name == "cpu":
            return cls(name)
        names = ["cuda:0"] if name == "cuda" else [part.strip() for part in name.split(",")]
        indices = tuple(_index(part, name) for part in names)
        for index in indices:
            if indices.count(index) > 1:
                raise DeviceMissing(f"device cuda:{index} is named twice in {name!r}")
        count = count_cuda()
        for index in indices:
            if index >= count:
                found = f"{count} CUDA device{'s' if count > 1 else ''}" if count else "no CUDA device"
                raise DeviceMissing(f"device cuda:{index} does not exist: this machine shows {found}")
        return cls(",".join(f"cuda:{index}" for index in indices), indices)

    def environment(self, threads: int, env: Mapping[str, str] = os.environ) -> dict[str, str]:
        """What the engine's environment must say before torch is imported there: its devices, its threads."""
        count = str(threads)
        pinned = {"OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "TOKENIZERS_PARALLELISM": "false"}
        if not self.indices:
            # Threads that spin at a barrier without end wait for one that has no core: ten times slower on a busy
            # machine. Threads that sleep at once are a third slower on a quiet one. So they spin a little.
            return {**pinned, "CUDA_VISIBLE_DEVICES": "", "GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
        seen = [one for one in env.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        chosen = ",".join(seen[index] if seen else str(index) for index in self.indices)
        return {**pinned, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": chosen}


def _index(part: str, name: str) -> int:
    match = _CUDA.fullmatch(part)
    if match is None:
        raise DeviceMissing(f"no such device: {name!r}; write cpu, cuda:0, cuda:1, ... or cuda:0,cuda:1 for several")
    return int(match[1])


def count_cuda() -> int:
    """How many CUDA devices the driver shows to this process."""
    # The driver must count in the order in which the engine will.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _cuda_product(index: int) -> str:
    """The name of a device that the driver shows."""
    driver, device, name = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0), ctypes.create_string_buffer(256)
    if driver.cuDeviceGet(ctypes.byref(device), index) or driver.cuDeviceGetName(name, len(name), device):
        return "unknown"
    return name.value.decode(errors="replace")


def _cpu_product() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not on macOS
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def count_cores() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
