"""Networks that cannot draft: plain texts as transformers writes them, and a reason for whoever asks for more."""

import copy
from functools import cache
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from engine.errors import BadRequest, Unsupported
from engine.lineup import Active, BatchClass
from engine.loop import Engine, Options
from engine.request import Drafter, FinishReason, Request, Sampling
from engine.skipset import SkipSet
from engine.stock import StockEngine, engine_for
from tests.tools.decoding import expected, run
from tests.tools.families import build
from tests.tools.generating import generate
from tests.tools.networks import VOCABULARY, letters, tiny

WINDOW = 9
KINDS: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 4},
    "rwkv": {"attention_hidden_size": 32, "context_length": 128},
    # attention in between
    "jamba": {
        "mamba_d_state": 4,
        "mamba_dt_rank": 4,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "num_experts": 2,
        "expert_layer_period": 2,
        "use_mamba_kernels": False,
    },
    # its first layer does not know how long the text is
    "bamba": {
        "attn_layer_indices": [1, 3],
        "mamba_n_heads": 4,
        "mamba_d_head": 16,
        "mamba_d_state": 8,
        "mamba_n_groups": 1,
        "mamba_chunk_size": 8,
    },
    # a state in its own modules
    "recurrent_gemma": {
        "lru_width": 32,
        "attention_window_size": WINDOW,
        "block_types": ["recurrent", "attention"],
    },
    # nothing but attention, with sinks that nobody but itself knows of
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": WINDOW},
}
EVERY = pytest.mark.parametrize("kind", KINDS)
OPTIONS = Options(rows=4, length=64)
PROMPT = tuple((3 * step * step + 7) % VOCABULARY for step in range(20))
REQUESTS = (
    Request("greedy", PROMPT, 12),
    Request("drawn", (5, 6, 7), 10, Sampling(0.8, seed=3, repetition_penalty=1.3), drafter=Drafter.PLAIN),
    Request("urgent", (9,), 5, interactive=True),
    Request("alone", PROMPT[:4], 4, alone=True),
)


@cache
def network_of(kind: str) -> PreTrainedModel:
    return build(kind, **KINDS[kind])


@EVERY
def test_texts(kind: str) -> None:
    """Also of a row that is interrupted by an urgent one and read again."""
    network = network_of(kind)
    engine = engine_for(network, OPTIONS)

    outcome = run(engine, REQUESTS, arrivals={"urgent": 8})

    assert isinstance(engine, StockEngine)
    assert outcome.tokens == expected(network, REQUESTS)
    assert outcome.admitted == ["alone", "greedy", "urgent", "drawn"]
    for one in REQUESTS:
        if one.sampling.is_greedy:
            assert outcome.tokens[one.id] == generate(network, one.prompt, one.max_tokens)


@pytest.mark.parametrize("drafter", [Drafter.SKIP, Drafter.LOOKUP, Drafter.CASCADE])
def test_a_drafter_is_refused_with_the_reason(drafter: Drafter) -> None:
    engine = engine_for(network_of("mamba"), OPTIONS, skip_set=SkipSet.of([1]))

    with pytest.raises(BadRequest, match="mamba keeps a state of all it has read") as refusal:
        engine.submit(Request("it", PROMPT, 4, drafter=drafter))

    assert refusal.value.parameter == "drafter"
    assert engine.drafters == (Drafter.AUTO, Drafter.PLAIN)
    assert engine.note is not None


def test_networks_that_can_draft_do() -> None:
    engine = engine_for(tiny(), OPTIONS, skip_set=SkipSet.of([1]))

    assert type(engine) is Engine
    assert (engine.drafters, engine.note) == (tuple(Drafter), None)


def test_the_drafting_engine_refuses_the_others() -> None:
    with pytest.raises(Unsupported, match="gpt_oss"):
        Engine(network_of("gpt_oss"), OPTIONS)


@pytest.mark.parametrize("skip_set", [SkipSet.of([3]), SkipSet.of([], [7, 1])])
def test_a_skip_set_of_layers_that_are_not_there_is_refused(skip_set: SkipSet) -> None:
    with pytest.raises(BadRequest, match="the network has 3 layers; the skip set names") as refusal:
        engine_for(tiny(), OPTIONS, skip_set=skip_set)

    assert refusal.value.parameter == "skip_set"


def test_without_a_skip_set_there_are_no_skip_drafts() -> None:
    engine = engine_for(tiny(), OPTIONS)

    for drafter in (Drafter.SKIP, Drafter.CASCADE):
        with pytest.raises(BadRequest, match=f"drafter {drafter} is not available here"):
            engine.submit(Request("it", PROMPT, 4, drafter=drafter))


@EVERY
def test_a_cancelled_row_leaves_nothing_behind(kind: str) -> None:
    network = network_of(kind)

    outcome = run(engine_for(network, OPTIONS), REQUESTS, arrivals={"urgent": 4}, cancellations={"alone": 3})

    others, cancelled = REQUESTS[:-1], REQUESTS[-1]
    assert outcome.finished["alone"].finish_reason is FinishReason.CANCELLED
    assert outcome.tokens["alone"] == expected(network, [cancelled])["alone"][:3]
    assert {one.id: outcome.tokens[one.id] for one in others} == expected(network, others)


def test_endings_and_reports() -> None:
    """Stop strings, end-of-sequence, log-probabilities and progress, as the drafting engine has them."""
    network = network_of("mamba")
    text = expected(network, REQUESTS[:1])["greedy"]
    engine = engine_for(network, OPTIONS, decode=letters, eos=frozenset({text[-2]}))
    stopped = Request("stopped", PROMPT, 12, stop=(letters(text[2:4]),), logprobs=2)
    streamed = Request("streamed", PROMPT, 12, stream=True)

    outcome = run(engine, [stopped, streamed])

    finished = outcome.finished
    first = text.index(text[-2])
    assert finished["streamed"].tokens == text[:first]
    assert finished["stopped"].finish_reason is FinishReason.STOP
    assert finished["stopped"].tokens == text[: len(finished["stopped"].tokens)]
    assert [one.token for one in finished["stopped"].logprobs or ()] == list(finished["stopped"].tokens)
    told = [token for event in outcome.progress["streamed"] for token in event.tokens]
    assert tuple(told) == finished["streamed"].tokens


def test_broken_numbers_fail_alone() -> None:
    network = copy.deepcopy(network_of("mamba"))
    table: Any = network.get_input_embeddings()
    table.weight[PROMPT[5]] = float("nan")

    outcome = run(engine_for(network, OPTIONS), [REQUESTS[0], REQUESTS[1]])

    assert outcome.failed["greedy"].code == "non_finite_logits"
    assert outcome.tokens == expected(network_of("mamba"), [REQUESTS[1]])


def test_a_context_ends_with_the_networks() -> None:
    local = {"attention_types": [[["global", "local"], 2]], "window_size": WINDOW}
    engine = engine_for(build("gpt_neo", max_position_embeddings=40, num_layers=4, num_heads=4, **local), OPTIONS)

    assert (engine.options.length, engine.options.rows) == (40, 1)
    with pytest.raises(BadRequest, match="exceed the context of 40"):
        engine.submit(Request("it", PROMPT, 21))


def test_idle_until_something_comes() -> None:
    engine = engine_for(network_of("mamba"), OPTIONS)
    assert engine.is_idle
    assert engine.step() == []

    engine.submit(REQUESTS[0])
    engine.submit(REQUESTS[1])

    assert (engine.is_idle, engine.num_rows, engine.num_waiting) == (False, 0, 2)
    engine.step()
    assert (engine.num_rows, engine.num_waiting, engine.num_steps) == (1, 1, 2)
    with pytest.raises(BadRequest, match="is here already"):
        engine.submit(REQUESTS[0])


def test_the_network_is_as_before() -> None:
    network = network_of("gpt_oss")
    tokens = torch.tensor([PROMPT])
    with torch.inference_mode():
        before = network(tokens, use_cache=False).logits

    run(engine_for(network, OPTIONS), REQUESTS)

    with torch.inference_mode():
        assert torch.equal(network(tokens, use_cache=False).logits, before)


def test_a_choice_of_skip_sets_is_of_no_use() -> None:
    """Also where the layers are counted in a configuration of their own, as in networks that see."""
    engine = engine_for(network_of("mamba"), OPTIONS)

    engine.swap({BatchClass.ONE: Active(SkipSet.of([40]))})

    assert run(engine, REQUESTS[:1]).tokens == expected(network_of("mamba"), REQUESTS[:1])
