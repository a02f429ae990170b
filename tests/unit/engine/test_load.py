"""From a folder to texts: what is laid out anew in loading, and what is left as transformers loads it."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from engine.errors import LoadError
from engine.load import load
from engine.loop import Engine, Options
from engine.packed import PackedLinear
from engine.quantised import DigitLinear, QuantisedLinear
from engine.request import Drafter, Request, Sampling
from engine.stock import StockEngine, engine_for
from tests.tools.decoding import expected, run
from tests.tools.families import build
from tests.tools.networks import VOCABULARY, letters
from tests.unit.engine.test_stock import KINDS

PROMPT = (3, 14, 15, 9, 26, 5)
REQUESTS = (
    Request("greedy", PROMPT, 8),
    Request("drawn", PROMPT[:3], 8, Sampling(0.9, seed=4), drafter=Drafter.PLAIN),
)
OURS = (PackedLinear, QuantisedLinear, DigitLinear)


def saved(kind: str, folder: Path) -> str:
    """A tiny network in float32 with a tokenizer of single letters."""
    network = build(kind, **KINDS.get(kind, {}))
    network.to(torch.float32)  # type: ignore[arg-type]  # transformers hides torch's own signature
    network.save_pretrained(folder)
    alphabet = {letters([token]): token for token in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(alphabet, unk_token="a"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)  # type: ignore[no-untyped-call]
    return str(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_is_served_plain_keeps_its_layers(kind: str, tmp_path: Path) -> None:
    loaded = load(saved(kind, tmp_path / "model"), home=tmp_path)
    engine = engine_for(loaded.network, Options(rows=2, length=64), eos=loaded.eos, decode=loaded.decode)

    outcome = run(engine, REQUESTS)

    assert isinstance(engine, StockEngine)
    assert not any(isinstance(module, OURS) for module in loaded.network.modules())
    assert (outcome.failed, outcome.tokens) == ({}, expected(loaded.network, REQUESTS))


@pytest.mark.parametrize("kind", ["mamba", "rwkv", "gpt_oss"])
def test_int8_is_refused_where_layers_must_stay(kind: str, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=f"dtype int8 is not to be had for networks of type '{kind}'; float64, float32"):
        load(saved(kind, tmp_path / "model"), home=tmp_path, dtype="int8")


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_layers_of_a_family_that_is_known_are_laid_out(dtype: str, tmp_path: Path) -> None:
    loaded = load(saved("llama", tmp_path / "model"), home=tmp_path, dtype=dtype)

    outcome = run(engine_for(loaded.network, Options(rows=2, length=64), eos=loaded.eos), REQUESTS)

    assert loaded.dtype == dtype
    assert isinstance(engine_for(loaded.network, Options(rows=2, length=64)), Engine)
    assert sum(isinstance(module, OURS) for module in loaded.network.modules()) == 4 * 7 + 1
    assert (outcome.failed, outcome.tokens) == ({}, expected(loaded.network, REQUESTS))


def test_a_network_that_cannot_run_ends_the_start() -> None:
    """And not the process at the first request."""
    network = build("mamba", **KINDS["mamba"])
    network.lm_head = PackedLinear(network.lm_head.float())

    with pytest.raises(AttributeError, match="weight"):
        engine_for(network, Options(rows=1, length=64))
