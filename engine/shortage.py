"""Telling want of memory from other faults of a pass."""

import torch

# What torch's allocator on a CPU, cuBLAS and the driver say; the latter two ask for memory of their own.
_SIGNS = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory")


def is_shortage(error: BaseException) -> bool:
    """Whether a pass failed for want of memory, so that a smaller one may succeed."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
