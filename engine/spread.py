"""One network over several devices: neighbouring layers on each, everything else on the first.

What goes into a layer is moved to where the layer is. torch's own hooks do it, which take the module they are called
for, and not accelerate's, which bind it: a draft view made of copies of the modules would run the originals.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from engine.errors import LoadError, Unsupported
from engine.family import layers_of


def devices_of(text: str) -> tuple[torch.device, ...]:
    """``cuda:0,cuda:1`` as devices, in the order of the layers.

    Raises: LoadError for what is no device, or one named twice.
    """
    try:
        devices = tuple(torch.device(name.strip()) for name in text.split(","))
    except RuntimeError as error:
        raise LoadError(f"{text!r} is not a device, nor several with commas between them: {error}") from error
    if len(set(devices)) < len(devices):
        raise LoadError(f"{text!r} names a device twice")
    return devices


def place(network: PreTrainedModel, devices: Sequence[torch.device]) -> None:
    """Move a network to its device or devices.

    Raises: LoadError when it has several and the network's family is unknown.
    """
    first, *others = devices
    if not others:
        network.to(first)  # type: ignore[arg-type]  # transformers hides torch's own signature
        return
    try:
        layers = layers_of(network)
    except Unsupported as error:
        raise LoadError(f"only a network that can draft runs over several devices: {error}") from error
    within = {id(module) for layer in layers for module in layer.modules()}
    for module in network.modules():
        if id(module) not in within:
            _settle(module, first)
    for layer, device in zip(layers, shares(_weights(network, layers), layers, devices), strict=True):
        _settle(layer, device, with_children=True)


def shares(rest: int, layers: Sequence[nn.Module], devices: Sequence[torch.device]) -> list[torch.device]:
    """The device of each layer, so that all hold about as much; ``rest`` are bytes beside them, on the first."""
    sizes = [_bytes(layer) for layer in layers]
    share = (rest + sum(sizes)) / len(devices)
    placed, before = [], float(rest)
    for size in sizes:
        placed.append(devices[min(int((before + size / 2) / share), len(devices) - 1)])
        before += size
    return placed


def _weights(network: nn.Module, layers: Sequence[nn.Module]) -> int:
    """Bytes of a network beside its layers."""
    return _bytes(network) - sum(map(_bytes, layers))


def _bytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


def _settle(module: nn.Module, device: torch.device, *, with_children: bool = False) -> None:
    """Move a module, and from now on whatever it is called with."""
    module._apply(lambda tensor: tensor.to(device), recurse=with_children)  # type: ignore[no-untyped-call]  # `to` that can leave children

    def bring(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        return _moved(given, device), _moved(named, device)

    module.register_forward_pre_hook(bring, with_kwargs=True)


def _moved(value: Any, device: torch.device) -> Any:
    """Tensors within tuples and dictionaries on a device; those that are there stay the same objects."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, tuple):
        return tuple(_moved(one, device) for one in value)
    if isinstance(value, dict):
        return {key: _moved(one, device) for key, one in value.items()}
    return value
