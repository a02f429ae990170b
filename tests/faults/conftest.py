"""One service for all fault tests; it is whole again at the start of each."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.workers.service import TIMES
from tests.faults.world import Receiver, World
from tests.tools.receiving import receiving
from tests.unit.workers.conftest import save_tokenizer

MAX_LOSSES = "100"  # faults hit the same few items again and again here, and none of them is to blame


@contextmanager
def opened(folder: Path, tmp_path_factory: pytest.TempPathFactory, times: dict[str, str]) -> Iterator[World]:
    """A service that is ended when the block is; `folder` is for its servers."""
    folder.mkdir(mode=0o711)
    source = save_tokenizer(tmp_path_factory.mktemp("echo"), None)
    with receiving(Receiver) as hooks:
        world = World(folder, tmp_path_factory.mktemp("world"), source, hooks, {**times, "SKIM_MAX_LOSSES": MAX_LOSSES})
        try:
            yield world
        finally:
            world.stop()


@pytest.fixture(scope="session")
def quick_world(server_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service with short times."""
    times = {**TIMES, "ECHO_STEP_S": "0.005", "SKIM_ROWS": "4"}
    with opened(server_folder / "q", tmp_path_factory, times) as world:
        yield world


@pytest.fixture(scope="session")
def default_world(server_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service with the times that everybody gets, and an engine that does an item a second in each of two rows."""
    with opened(server_folder / "d", tmp_path_factory, {"ECHO_STEP_S": "0.05", "SKIM_ROWS": "2"}) as world:
        yield world


@pytest.fixture
def world(quick_world: World) -> Iterator[World]:
    """The service, whole, with its logs shown when a test fails."""
    with watched(quick_world) as watched_world:
        yield watched_world


@pytest.fixture
def slow_world(default_world: World) -> Iterator[World]:
    """The same with default times."""
    with watched(default_world) as watched_world:
        yield watched_world


@contextmanager
def watched(world: World) -> Iterator[World]:
    """Print what was logged meanwhile."""
    world.until(world.is_whole)
    starts = {name: _size(part.log) for name, part in world.parts.items()}
    yield world
    for name, part in world.parts.items():
        print(f"--- {name}", part.log.read_text(errors="replace")[starts.get(name, 0) :][-4000:], sep="\n")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
