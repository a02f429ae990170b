"""Telling want of memory from other faults of a pass."""

import torch


def is_shortage(error: BaseException) -> bool:
    """Whether a pass failed for want of memory, so that a smaller one may succeed."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
