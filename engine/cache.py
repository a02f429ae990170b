"""The keys and values of every live row: one preallocated tensor pair per layer, indexed by slot and column.

Storage only. Which tokens stand where, and how many columns of a slot are valid, is the rows' business: rolling
back is moving a row's length, and nothing here is ever cropped.
"""

from dataclasses import dataclass

import torch
from transformers import PretrainedConfig


@dataclass(frozen=True, slots=True)
class CacheShape:
    """Sizes of a slot cache, in elements."""

    layers: int
    kv_heads: int
    head_dim: int
    slots: int
    length: int

    @classmethod
    def of(cls, config: PretrainedConfig, slots: int, length: int) -> "CacheShape":
        """The shape a network of this configuration needs for ``slots`` rows of ``length`` positions."""
        heads: int = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            slots=slots,
            length=length,
        )

    @property
    def elements_per_slot(self) -> int:
        return 2 * self.layers * self.kv_heads * self.length * self.head_dim


class SlotCache:
    """Keys and values, per layer [slots + 1, kv heads, length, head dim].

    The last slot is scratch: padding columns write there. Slots start zeroed, because a NaN under a masked column would
    still spread through the weighted sum.
    """

    def __init__(self, shape: CacheShape, dtype: torch.dtype, device: torch.device) -> None:
        self.shape = shape
        sizes = (shape.slots + 1, shape.kv_heads, shape.length, shape.head_dim)
        self.keys = [torch.zeros(sizes, dtype=dtype, device=device) for _ in range(shape.layers)]
        self.values = [torch.zeros(sizes, dtype=dtype, device=device) for _ in range(shape.layers)]

    @property
    def scratch(self) -> int:
        return self.shape.slots

    def copy(self, source: int, target: int, columns: int) -> None:
        """Copy the first ``columns`` columns of slot ``source`` to slot ``target``, in every layer."""
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :columns] = tensor[source, :, :columns]

    def swap(self, first: int, second: int, columns: int) -> None:
        """Exchange the first ``columns`` columns of two slots."""
        for tensor in (*self.keys, *self.values):
            kept = tensor[first, :, :columns].clone()
            tensor[first, :, :columns] = tensor[second, :, :columns]
            tensor[second, :, :columns] = kept

    def clear(self, slot: int) -> None:
        """Zero a slot whose row went non-finite, and the scratch slot with it."""
        for tensor in (*self.keys, *self.values):
            tensor[slot] = 0
            tensor[self.scratch] = 0
