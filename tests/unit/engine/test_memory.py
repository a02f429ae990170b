"""Drafting needs no weights and no cache of its own."""

import gc
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import memory
from engine.loop import Engine, Options
from engine.memory import free_memory, memory_use
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


@pytest.mark.parametrize(
    ("membership", "limits", "room"),
    [
        ("0::/", {}, (1000, 400)),  # nobody limits it
        ("0::/", {"": ("max", 250, 0)}, (1000, 400)),
        ("0::/", {"": (300, 250, 0)}, (300, 50)),
        ("0::/", {"": (300, 250, 200)}, (300, 250)),  # pages of files are given back when somebody needs them
        ("0::/", {"": (5000, 100, 0)}, (1000, 400)),  # the machine has less
        ("0::/", {"": (300, 320, 0)}, (300, 0)),
        ("0::/pod/box", {"pod": (500, 450, 0), "pod/box": (600, 10, 0)}, (500, 50)),  # the pod's other box fills it
        ("0::/outside/names/it", {"": (300, 250, 0)}, (300, 50)),
        ("0::/../box", {"": (300, 250, 0)}, (300, 50)),
        ("9:cpu:/\n4:memory:/box\n0::/", {"memory/box": (300, 250, 20)}, (300, 70)),  # version 1
        ("9:cpu:/\n4:memory:/box\n0::/", {"memory": (2**63 - 4096, 9, 0)}, (1000, 400)),
        ("9:cpu:/box", {"memory/box": (300, 250, 0)}, (1000, 400)),
    ],
)
def test_a_control_group_may_leave_less_than_the_machine(
    membership: str,
    limits: dict[str, tuple[int | str, int, int]],
    room: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mib = 2**20
    files = {"_CGROUPS": tmp_path, "_MEMBERSHIP": tmp_path / "membership", "_MEMINFO": tmp_path / "meminfo"}
    for name, path in files.items():
        monkeypatch.setattr(memory, name, path)
    (tmp_path / "membership").write_text(f"{membership}\n")
    (tmp_path / "meminfo").write_text("MemTotal: 1024000 kB\nMemFree: 5 kB\nMemAvailable: 409600 kB\nHugePages: 0\n")
    for name, (most, used, cache) in limits.items():
        folder, is_old = tmp_path / name, name.startswith("memory")
        folder.mkdir(parents=True, exist_ok=True)
        bytes_ = most if isinstance(most, str) or most > 2**40 else most * mib
        (folder / ("memory.limit_in_bytes" if is_old else "memory.max")).write_text(f"{bytes_}\n")
        (folder / ("memory.usage_in_bytes" if is_old else "memory.current")).write_text(f"{used * mib}\n")
        entry = "total_inactive_file" if is_old else "inactive_file"
        (folder / "memory.stat").write_text(f"anon 77\n{entry} {cache * mib}\n")

    assert (memory_use(NETWORK)[1], free_memory(NETWORK)) == tuple(size * mib for size in room)


def test_what_the_system_does_not_say_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_CGROUPS", "_MEMBERSHIP", "_MEMINFO", "_STATM"):
        monkeypatch.setattr(memory, name, tmp_path / "nothing")

    assert (free_memory(NETWORK), memory_use(NETWORK)) == (None, (None, None))
