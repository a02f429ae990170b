"""Drafting needs no weights and no cache of its own."""

import gc
from dataclasses import replace

import pytest
import torch

from engine.loop import Engine, Options
from engine.memory import memory_use
from engine.request import Drafter, Exit, Request
from engine.skipset import SkipSet
from tests.tools.decoding import run
from tests.tools.networks import tiny

NETWORK = tiny(5)
OPTIONS = Options(rows=4, length=64)


def storages() -> dict[int, int]:
    """Bytes of every tensor storage alive, by address."""
    gc.collect()
    tensors = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor) and not one.is_mkldnn]
    return {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors}


def kept_by(drafter: Drafter, skip_set: SkipSet | None, leave: Exit = Exit.GOODPUT) -> int:
    """Bytes an engine holds, over and above the network, after it has worked."""
    before = storages()
    engine = Engine(NETWORK, replace(OPTIONS, leave=leave), skip_set=skip_set)
    run(engine, [Request(str(row), (1, 2, 3, row), 20, drafter=drafter) for row in range(4)])
    after = storages()
    del engine
    return sum(size for address, size in after.items() if address not in before)


def test_the_cache_is_what_its_shape_says() -> None:
    slots, layers, kv_heads, head_dim, bytes_each = 4 + 1, 5, 2, 8, 8

    assert kept_by(Drafter.PLAIN, None) == 2 * layers * slots * kv_heads * OPTIONS.length * head_dim * bytes_each


@pytest.mark.parametrize("drafter", [Drafter.SKIP, Drafter.LOOKUP, Drafter.CASCADE, Drafter.AUTO])
@pytest.mark.parametrize("leave", [Exit.GOODPUT, Exit.FIXED])
def test_drafting_holds_nothing_more(drafter: Drafter, leave: Exit) -> None:
    assert kept_by(drafter, SkipSet.of([1, 3], [2, 3]), leave) == kept_by(Drafter.PLAIN, None)


def test_memory_in_use_is_part_of_what_there_is() -> None:
    used, total = memory_use(NETWORK)

    assert used is not None and total is not None
    assert sum(storages().values()) < used < total
