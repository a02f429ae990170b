"""How much memory is free where a network lies."""

import os
from pathlib import Path

import torch
from transformers import PreTrainedModel

from engine.cgroup import Room, rooms

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_MEMINFO = Path("/proc/meminfo")
_STATM = Path("/proc/self/statm")


def free_memory(network: PreTrainedModel) -> int | None:
    """Bytes that are free where the network lies; None where the machine does not say.

    A network over several devices spreads its cache as it does its layers, so the fullest device decides.
    """
    devices = {parameter.device for parameter in network.parameters()}
    cuda = [device for device in devices if device.type == "cuda"]
    if cuda:
        torch.cuda.empty_cache()  # what loading left behind is free, too
        return min(torch.cuda.mem_get_info(device)[0] for device in cuda) * len(cuda)
    return _least(available(_read(_MEMINFO)), *(room.free for room in _rooms()))


def memory_use(network: PreTrainedModel) -> tuple[int | None, int | None]:
    """Bytes in use and bytes there are: of the network's devices, whoever uses them; on a CPU of this process and of
    the machine, or of its control group. None where the system does not say.
    """
    cuda = {parameter.device for parameter in network.parameters() if parameter.device.type == "cuda"}
    if cuda:
        free, total = (sum(sizes) for sizes in zip(*map(torch.cuda.mem_get_info, cuda), strict=True))
        return total - free, total
    statm = _read(_STATM).split()
    resident = int(statm[1]) * os.sysconf("SC_PAGE_SIZE") if statm else None
    return resident, _least(_size(_read(_MEMINFO), "MemTotal:"), *(room.total for room in _rooms()))


def available(meminfo: str) -> int | None:
    """`MemAvailable` of Linux's /proc/meminfo, in bytes."""
    return _size(meminfo, "MemAvailable:")


def _size(meminfo: str, name: str) -> int | None:
    lines = (line.split() for line in meminfo.splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[:1] == [name]), None)


def _rooms() -> list[Room]:
    """What the control groups around this process may have."""
    return list(rooms(_CGROUPS, _read(_MEMBERSHIP)))


def _least(*sizes: int | None) -> int | None:
    return min((size for size in sizes if size is not None), default=None)


def _read(path: Path) -> str:
    """Nothing on systems other than Linux."""
    try:
        return path.read_text()
    except OSError:
        return ""
