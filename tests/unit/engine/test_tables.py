"""Networks that look positions up in a table: nothing ever reads past its end."""

from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from engine.attention import adopt
from engine.errors import BadRequest
from engine.loop import Engine, Options
from engine.passes import IDLE, Chunk, Padding, Pass, logits_of
from engine.request import Drafter, Request, Sampling
from engine.skipset import SkipSet
from tests.tools.decoding import expected, run
from tests.tools.families import build

TABLE = 40
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "gptj": {"rotary_dim": 4},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 4, "max_seq_len": TABLE},
}
EVERY = pytest.mark.parametrize("kind", FAMILIES)


def network_of(kind: str) -> PreTrainedModel:
    return build(kind, max_position_embeddings=TABLE, **FAMILIES[kind])


@EVERY
def test_a_context_ends_with_the_table(kind: str) -> None:
    engine = Engine(network_of(kind), Options(rows=2, length=4 * TABLE))

    assert engine.options.length == TABLE
    with pytest.raises(BadRequest, match=f"exceed the context of {TABLE}") as refusal:
        engine.submit(Request("it", (1, 2, 3), TABLE - 2))
    assert refusal.value.code == "context_length_exceeded"


def test_a_shorter_context_stays() -> None:
    assert Engine(network_of("gpt2"), Options(rows=2, length=TABLE - 1)).options.length == TABLE - 1


def test_other_networks_may_have_longer_ones() -> None:
    assert Engine(build("llama", max_position_embeddings=TABLE), Options(rows=2, length=TABLE + 9)).options.length == 49


@EVERY
@pytest.mark.parametrize("reproducible", [False, True])
def test_texts_that_fill_the_table(kind: str, reproducible: bool) -> None:
    """Every drafter up to the last position, beside rows that are shorter and idle."""
    network = network_of(kind)
    engine = Engine(network, Options(rows=8, length=TABLE, prefill_tokens=16), skip_set=SkipSet.of([1], [2]))
    requests = [
        Request(
            drafter,
            (9, 4) * (3 + 2 * number),
            TABLE - (6 + 4 * number),
            Sampling(0.7 * (number % 2)),
            drafter=drafter,
            reproducible=reproducible,
        )
        for number, drafter in enumerate(engine.drafters)
    ]
    requests.append(Request("short", (5,), 3))

    outcome = run(engine, requests)

    assert outcome.tokens == expected(network, requests)
    assert outcome.finished[Drafter.SKIP].statistics.drafted > 0


@EVERY
def test_idle_rows_and_padding_beside_the_last_position(kind: str) -> None:
    network = network_of(kind)
    engine = Engine(network, Options(rows=3, length=TABLE))
    chunks = [Chunk([7], TABLE - 1), IDLE, Chunk([3, 1], 0)]

    logits = logits_of(network, Pass(engine._cache, 0, chunks, Padding(6, TABLE)))

    assert torch.isfinite(logits).all()


def test_adopting_twice_changes_nothing() -> None:
    network = network_of("gpt2")
    one = Request("it", (3, 1, 4), 9)
    first = run(Engine(network, Options(rows=2, length=TABLE)), [one]).tokens

    adopt(network)

    assert run(Engine(network, Options(rows=2, length=TABLE)), [one]).tokens == first
