"""How close a plain step is to what the device allows, both limits measured in the same run.

A step has to read every weight and the rows' keys and values once, and to multiply each weight with each row. Its floor
is the longer of bytes over measured copy bandwidth and operations over measured matrix rate.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from bench.steps import Steps
from bench.turns import timed
from engine.quantised import DigitLinear, QuantisedLinear

_COPY_BYTES = {"cpu": 2**28, "cuda": 2**31}
_SIZE = {"cpu": 2048, "cuda": 8192}  # of the square matrices
_REPEATS = 7


@dataclass(frozen=True, slots=True)
class Device:
    """Measured limits: bytes per second moved by a copy (read and written), operations per second of a product."""

    bytes_per_s: float
    operations_per_s: float


@dataclass(frozen=True, slots=True)
class Roofline:
    """A plain step against its floor; ``share`` is floor over step (1: as fast as the device allows)."""

    batch: int
    weight_bytes: int
    cache_bytes: int
    operations: int
    floor_s: float
    step_s: float

    @property
    def share(self) -> float:
        return self.floor_s / self.step_s


def device_limits(device: torch.device, dtype: torch.dtype) -> Device:
    """The best of several copies and products."""
    count = _COPY_BYTES[device.type]
    source = torch.ones(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    size = _SIZE[device.type]
    left, right = torch.rand((2, size, size), device=device).to(dtype)
    copy, product = _best(lambda: target.copy_(source)), _best(lambda: left @ right)
    return Device(2 * count / copy, 2 * size**3 / product)


def roofline(network: PreTrainedModel, limits: Device, steps: Steps) -> Roofline:
    """The floor of a plain step. Linear layers are ordinary or quantised: packed ones do not tell their bytes."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear | QuantisedLinear | DigitLinear)]
    weights = sum(one.in_features * one.out_features for one in linear)
    weight_bytes = sum(map(_weight_bytes, linear))
    config, itemsize = network.config, network.dtype.itemsize
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cached = steps.batch * steps.span * config.num_hidden_layers * config.num_key_value_heads * head_dim * 2
    groups = config.num_attention_heads // config.num_key_value_heads
    operations = 2 * steps.batch * weights + 2 * cached * groups
    size = weight_bytes + cached * itemsize
    floor = max(size / limits.bytes_per_s, operations / limits.operations_per_s)
    return Roofline(steps.batch, weight_bytes, cached * itemsize, operations, floor, steps.plain_s)


def _weight_bytes(linear: nn.Linear | QuantisedLinear | DigitLinear) -> int:
    each = linear.weight.element_size() if isinstance(linear, nn.Linear) else 1
    return linear.in_features * linear.out_features * each


def _best(work: Callable[[], object]) -> float:
    timed(work)
    return min(timed(work).seconds for _ in range(_REPEATS))
