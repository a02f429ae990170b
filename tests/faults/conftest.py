"""One service for all fault tests; it is whole again at the start of each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.workers.service import TIMES
from tests.faults.world import Receiver, World
from tests.tools.receiving import receiving
from tests.unit.workers.conftest import save_tokenizer

MAX_LOSSES = "100"  # faults hit the same few items again and again here, and none of them is to blame


@pytest.fixture(scope="session")
def opened(server_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service with short times, stopped at the end."""
    source = save_tokenizer(tmp_path_factory.mktemp("echo"), None)
    times = {**TIMES, "SKIM_MAX_LOSSES": MAX_LOSSES, "ECHO_STEP_S": "0.005"}
    with receiving(Receiver) as hooks:
        world = World(server_folder, tmp_path_factory.mktemp("world"), source, hooks, times)
        try:
            yield world
        finally:
            world.stop()


@pytest.fixture
def world(opened: World) -> Iterator[World]:
    """The service, whole, with its logs shown when a test fails."""
    opened.until(opened.is_whole)
    starts = {name: _size(part.log) for name, part in opened.parts.items()}
    yield opened
    for name, part in opened.parts.items():
        print(f"--- {name}", part.log.read_text(errors="replace")[starts.get(name, 0) :][-3000:], sep="\n")  # noqa: T201


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
