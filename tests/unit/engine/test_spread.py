"""A network over several devices, as far as one device can tell: who is where, and what is moved on the way.

The second device is torch's own imaginary one: it holds no numbers, so a pass is followed up to where one would come
back from it.
"""

import copy
from typing import Any

import pytest
import torch

from engine.attention import adopt
from engine.cache import CacheShape, SlotCache
from engine.errors import LoadError
from engine.family import layers_of
from engine.passes import Chunk, Pass, write
from engine.skipset import SkipSet
from engine.spread import devices_of, place, shares
from engine.view import draft_view
from tests.tools.networks import tiny

CPU, META = torch.device("cpu"), torch.device("meta")
LAYERS = 4


@pytest.mark.parametrize(
    ("text", "names"), [("cpu", ["cpu"]), ("cuda:1", ["cuda:1"]), ("cuda:0, cuda:2", ["cuda:0", "cuda:2"])]
)
def test_devices_are_read_in_order(text: str, names: list[str]) -> None:
    assert devices_of(text) == tuple(map(torch.device, names))


@pytest.mark.parametrize("text", ["", "cuda:0,", "toaster", "cuda:0,cuda:0"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(LoadError, match="device"):
        devices_of(text)


def test_every_device_holds_about_as_much() -> None:
    layers = [torch.nn.Linear(8, 8, bias=False) for _ in range(6)]  # 256 bytes each
    two, three = [CPU, META], [CPU, META, CPU]

    assert shares(0, layers, two) == [CPU] * 3 + [META] * 3
    assert shares(2 * 256, layers, two) == [CPU] * 2 + [META] * 4
    assert shares(0, layers, three) == [CPU] * 2 + [META] * 2 + [CPU] * 2
    assert shares(99 * 256, layers, two) == [META] * 6


def spread_network() -> Any:
    network = copy.deepcopy(tiny(LAYERS))
    place(network, (CPU, META))
    return network


def test_layers_are_spread_and_the_rest_is_on_the_first() -> None:
    network = spread_network()

    where = [next(layer.parameters()).device for layer in layers_of(network)]

    assert where == [CPU] * (LAYERS // 2) + [META] * (LAYERS // 2)
    assert {network.device, network.lm_head.weight.device, network.model.norm.weight.device} == {CPU}


@pytest.mark.parametrize("skip_set", [SkipSet(), SkipSet.of([0, 2], [1, 2])])
def test_a_pass_follows_the_layers(skip_set: SkipSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a draft view, whose own layers run and not the network's."""
    monkeypatch.setattr(Pass, "undo", lambda _: None)  # what it has written is looked at
    network = spread_network()
    shape = CacheShape(LAYERS, 2, 8, 2, 24, devices=(CPU, CPU, META, META))
    adopt(network)
    view = draft_view(network, skip_set)
    seen: list[tuple[int, set[torch.device]]] = []
    for index, layer in enumerate(layers_of(view)):
        if index not in skip_set.attention:
            layer.self_attn.register_forward_pre_hook(_noting(index, seen), with_kwargs=True)  # type: ignore[union-attr]
    cache = SlotCache(shape, network.dtype, CPU)
    run = Pass(cache, 0, [Chunk([3, 1, 4, 1], 0), Chunk([5, 9], 6)])

    with pytest.raises(NotImplementedError, match="meta"):  # on its way back to the norm
        write(view, run)

    kept = [index for index in range(LAYERS) if index not in skip_set.attention]
    assert seen == [(index, {shape.devices[index]}) for index in kept]
    assert [tensor.device for tensor in cache.keys] == [tensor.device for tensor in cache.values] == [*shape.devices]
    assert bool(cache.keys[1][0, :, :4].any())


def _noting(index: int, seen: list[tuple[int, set[torch.device]]]) -> Any:
    def note(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        tensors = [*given, *named.values(), *named["position_embeddings"]]
        seen.append((index, {one.device for one in tensors if isinstance(one, torch.Tensor)}))

    return note


def test_the_shape_of_a_cache_says_where_its_layers_are() -> None:
    assert CacheShape.of(tiny(LAYERS), 1, 8).devices == (CPU,) * LAYERS


def test_one_device_needs_no_hooks() -> None:
    network = copy.deepcopy(tiny(LAYERS))

    place(network, (CPU,))

    assert not any(module._forward_pre_hooks for module in network.modules())
