"""The keys and values of every live row: one preallocated tensor pair per layer, indexed by slot and column.

Storage only. Which tokens stand where, and how many columns of a slot are valid, is the rows' business: rolling
back is moving a row's length, and nothing here is ever cropped.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from engine.attention import stock_attention
from engine.errors import Unsupported
from engine.rope import RopeRule, rule_of


@dataclass(frozen=True, slots=True)
class CacheShape:
    """Sizes of a slot cache, in elements, where its layers are, and what decides how its keys are turned."""

    layers: int
    kv_heads: int
    head_dim: int
    slots: int
    length: int
    rope: RopeRule | None = None
    devices: tuple[torch.device, ...] = ()  # of each layer, where they are not all on one

    @classmethod
    def of(cls, network: PreTrainedModel, slots: int, length: int) -> "CacheShape":
        """The shape a network needs for ``slots`` rows of ``length`` positions; read off one token's keys and values,
        because configurations name these sizes differently.

        Raises: Unsupported when its layers do not all keep keys and values of one size (state-space layers, say).
        """
        seen = DynamicCache()
        token = torch.zeros((1, 1), dtype=torch.long, device=network.device)
        with torch.inference_mode(), stock_attention(network):
            network(token, attention_mask=torch.ones_like(token), past_key_values=seen, use_cache=True)
        kept: list[Any] = [(getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in seen.layers]
        sizes = {() if k is None or v is None else (*k.shape, *v.shape) for k, v in kept}
        if len(sizes) != 1 or () in sizes or len(seen.layers) != network.config.num_hidden_layers:
            raise Unsupported(f"{network.config.model_type} does not keep keys and values of one size in every layer")
        _, kv_heads, _, head_dim, *of_values = sizes.pop()
        if of_values != [1, kv_heads, 1, head_dim]:
            raise Unsupported(f"{network.config.model_type} keeps values of another size than keys")
        devices = tuple(k.device for k, _ in kept)
        return cls(len(seen.layers), kv_heads, head_dim, slots, length, rule_of(network.config), devices)

    @property
    def elements_per_slot(self) -> int:
        return 2 * self.layers * self.kv_heads * self.length * self.head_dim


class SlotCache:
    """Keys and values, per layer [slots + 1, kv heads, length, head dim].

    The last slot is scratch: padding columns write there. Slots start zeroed, because a NaN under a masked column would
    still spread through the weighted sum; whoever writes one clears it before the next pass.
    """

    def __init__(self, shape: CacheShape, dtype: torch.dtype, device: torch.device) -> None:
        self.shape = shape
        sizes = (shape.slots + 1, shape.kv_heads, shape.length, shape.head_dim)
        devices = shape.devices or (device,) * shape.layers
        self.keys = [_zeros(sizes, dtype, where) for where in devices]
        self.values = [_zeros(sizes, dtype, where) for where in devices]
        self.device = device  # of the tokens of a pass
        # The rotary frequencies that a slot's keys were turned by; None where all are turned alike.
        self.rope_sets = None if shape.rope is None else [shape.rope.set_of(0)] * (shape.slots + 1)

    @property
    def scratch(self) -> int:
        return self.shape.slots

    def seat(self, slot: int, extent: int) -> None:
        """Give a slot to a row that will never be longer than ``extent`` tokens."""
        if self.rope_sets is not None and self.shape.rope is not None:
            self.rope_sets[slot] = self.shape.rope.set_of(extent)

    def can_share(self, first: int, second: int) -> bool:
        """Whether the keys of one slot serve a row in the other."""
        return self.rope_sets is None or self.rope_sets[first] == self.rope_sets[second]

    def copy(self, source: int, target: int, columns: int) -> None:
        """Copy the first ``columns`` columns of slot ``source`` to slot ``target``, in every layer."""
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :columns] = tensor[source, :, :columns]
        if self.rope_sets is not None:
            self.rope_sets[target] = self.rope_sets[source]

    def swap(self, first: int, second: int, columns: int) -> None:
        """Exchange the first ``columns`` columns of two slots."""
        for tensor in (*self.keys, *self.values):
            kept = tensor[first, :, :columns].clone()
            tensor[first, :, :columns] = tensor[second, :, :columns]
            tensor[second, :, :columns] = kept
        if (sets := self.rope_sets) is not None:
            sets[first], sets[second] = sets[second], sets[first]

    def clear(self, slot: int, start: int) -> None:
        """Zero a slot from column ``start`` on, and the scratch slot, after a pass wrote something non-finite there."""
        for tensor in (*self.keys, *self.values):
            tensor[slot, :, start:] = 0
            tensor[self.scratch] = 0


def _zeros(sizes: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros that on a CPU cost no memory until they are written: rows seldom fill their slots, and torch's own zeros
    touch every page.
    """
    if device.type != "cpu":
        return torch.zeros(sizes, dtype=dtype, device=device)
    return torch.from_numpy(np.zeros(math.prod(sizes) * dtype.itemsize, dtype=np.uint8)).view(dtype).view(sizes)
