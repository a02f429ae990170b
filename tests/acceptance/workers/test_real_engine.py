"""The service over the real engine: the text is what the full network would have said, whatever happens on the way."""

import random
from pathlib import Path
from typing import Any

import pytest

from engine.attention import stock_attention
from engine.oracle import decode
from engine.request import Request, Sampling
from engine.seeds import derive
from models.states import JobKind, Lane
from tests.acceptance.workers.service import Service, until
from tests.tools.networks import tiny
from tests.unit.workers.conftest import ASCII
from workers.text import Text

SEED = 7
NUM_TOKENS = 24


def prompts(number: int) -> list[str]:
    """Ragged prompts, with repetitions for lookup to find."""
    source = random.Random(number)
    return ["".join(source.choices("abc de", k=source.randint(1, 60))) for _ in range(number)]


def oracle_texts(folder: Path, asked: list[str], temperature: float, choice: int = 0) -> list[str]:
    """What the slow decoder says to each prompt."""
    network, text = tiny(vocabulary=len(ASCII) + 3), Text(folder)
    said = []
    with stock_attention(network):
        for index, prompt in enumerate(asked):
            sampling = Sampling(temperature=temperature, seed=derive(SEED, index, 0, choice))
            request = Request("x", text.prompt(prompt), NUM_TOKENS, sampling)
            said.append(text.decode(decode(network, request, eos=frozenset({len(ASCII)}))))
    return said


def spoken(content: list[dict[str, Any]]) -> str:
    """The text of tokens, those left out that a tokenizer leaves out."""
    return "".join(one["token"] for one in content if not one["token"].startswith("<|"))


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_every_text_is_the_full_networks_own(llama: Service, llama_folder: Path, temperature: float) -> None:
    asked = prompts(40)
    jobs = [
        llama.submit(asked, max_tokens=NUM_TOKENS, temperature=temperature, lane=lane)
        for lane in (Lane.BULK, Lane.INTERACTIVE)
    ]

    assert [llama.wait(job_id) for job_id in jobs] == ["succeeded"] * 2
    expected = oracle_texts(llama_folder, asked, temperature)
    for job_id in jobs:
        assert [item.output for item in llama.items(job_id)] == expected


def test_texts_survive_a_power_cut(llama: Service, llama_folder: Path) -> None:
    asked = prompts(40)
    job_id = llama.submit(asked, max_tokens=NUM_TOKENS, temperature=0.9)
    until(lambda: llama.num_done(job_id) >= 3)

    llama.device.kill()
    assert llama.num_done(job_id) < 40
    llama.start_device("--rows", "6", "--threads", "1", is_real=True)

    assert llama.wait(job_id) == "succeeded"
    assert [item.output for item in llama.items(job_id)] == oracle_texts(llama_folder, asked, 0.9)
    # The second engine knew what passes cost: had it measured, that would be the later time.
    (row,) = llama.rows(
        "SELECT measured_at, started_at FROM step_costs JOIN workers USING (model) WHERE pid = :pid",
        pid=llama.device.process.pid,
    )
    assert row.measured_at < row.started_at


def test_choices_are_texts_of_their_own_with_the_logprobs_of_their_tokens(llama: Service, llama_folder: Path) -> None:
    asked, temperature = prompts(6), 0.9

    job_id = llama.submit(asked, max_tokens=NUM_TOKENS, temperature=temperature, n=3, logprobs=2)

    assert llama.wait(job_id) == "succeeded"
    expected = [oracle_texts(llama_folder, asked, temperature, choice) for choice in range(3)]
    query = "SELECT output, choices, usage FROM items WHERE job_id = :job ORDER BY index"
    for index, row in enumerate(llama.rows(query, job=job_id)):
        texts = [texts[index] for texts in expected]
        assert [choice["output"] for choice in row.choices] == texts
        assert row.output == texts[0]
        contents = [choice["logprobs"]["content"] for choice in row.choices]
        assert [spoken(content) for content in contents] == texts
        assert all(len(one["top_logprobs"]) == 2 for content in contents for one in content)
        assert all(one["logprob"] <= one["top_logprobs"][0]["logprob"] <= 0 for content in contents for one in content)
        counted = {"prompt_tokens": len(asked[index]), "completion_tokens": sum(map(len, contents))}
        assert row.usage == counted


@pytest.mark.parametrize("parameters", [{"logit_bias": {"99": 5.0}}, {"stop_token_ids": [99]}])
def test_a_token_the_model_does_not_have_fails_the_item(llama: Service, parameters: dict[str, Any]) -> None:
    job_id = llama.submit(["fine"], max_tokens=4, **parameters)

    assert llama.wait(job_id) == "failed"
    error = llama.items(job_id)[0].error
    assert error["code"] == "token_out_of_range"
    assert error["message"] == f"{next(iter(parameters))}: there is no token 99, the model knows 0 to 98"


def test_a_prompt_of_such_a_token_fails_and_its_siblings_succeed(llama: Service) -> None:
    job_id = llama.submit([[5, 99], [5, 98]], max_tokens=4)

    assert llama.wait(job_id) == "succeeded"
    assert [item.error and item.error["code"] for item in llama.items(job_id)] == ["token_out_of_range", None]


def test_a_prompt_beyond_the_context_fails_and_its_siblings_succeed(llama: Service) -> None:
    job_id = llama.submit(["short", "x" * 600, "fine"], max_tokens=8)

    assert llama.wait(job_id) == "succeeded"
    items = llama.items(job_id)
    assert [item.status for item in items] == ["succeeded", "failed", "succeeded"]
    assert items[1].error["code"] == "context_length_exceeded"
    assert "600 prompt tokens and max_tokens 8 exceed the context of 512" in items[1].error["message"]
    assert items[1].attempts == 0


def test_a_document_beyond_the_context_is_summarised_in_parts(llama: Service) -> None:

    long = " ".join(f"Sentence {number} says nothing new." for number in range(60))

    job_id = llama.submit([long, "A short one."], max_tokens=40, kind=JobKind.SUMMARIZE)

    assert llama.wait(job_id) == "succeeded"
    usage = llama.rows("SELECT usage, decoding FROM items WHERE job_id = :job ORDER BY index", job=job_id)
    long_usage, short_usage = (row.usage for row in usage)
    assert long_usage["prompt_tokens"] > len(long)
    assert long_usage["completion_tokens"] > 3 * short_usage["completion_tokens"]
    assert all(row.decoding["tokens_per_second"] > 0 and row.decoding["verifies"] > 0 for row in usage)


def test_only_the_engine_loads_torch(llama: Service) -> None:
    assert llama.wait(llama.submit(["Once"], max_tokens=2, lane=Lane.INTERACTIVE)) == "succeeded"
    assert llama.wait(llama.submit(["Once"], max_tokens=2, lane=Lane.BULK)) == "succeeded"

    loads_torch = [one.pid for one in llama.device.tree if any("libtorch" in part.path for part in one.memory_maps())]

    assert loads_torch == [llama.device.find("workers.serve").pid]
