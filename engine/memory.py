"""How much memory is free where a network lies."""

from pathlib import Path

import torch
from transformers import PreTrainedModel

_MEMINFO = Path("/proc/meminfo")


def free_memory(network: PreTrainedModel) -> int | None:
    """Bytes that are free where the network lies; None where the machine does not say.

    A network over several devices spreads its cache as it does its layers, so the fullest device decides.
    """
    devices = {parameter.device for parameter in network.parameters()}
    cuda = [device for device in devices if device.type == "cuda"]
    if cuda:
        torch.cuda.empty_cache()  # what loading left behind is free, too
        return min(torch.cuda.mem_get_info(device)[0] for device in cuda) * len(cuda)
    try:
        return available(_MEMINFO.read_text())
    except OSError:  # not on macOS
        return None


def available(meminfo: str) -> int | None:
    """`MemAvailable` of Linux's /proc/meminfo, in bytes."""
    lines = (line.split() for line in meminfo.splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[:1] == ["MemAvailable:"]), None)
