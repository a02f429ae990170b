"""The service over the real engine: the text is what the full network would have said, whatever happens on the way."""

import random
from pathlib import Path

import pytest

from engine.oracle import decode, stock_attention
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


def oracle_texts(folder: Path, asked: list[str], temperature: float) -> list[str]:
    """What the slow decoder says to each prompt."""
    network, text = tiny(vocabulary=len(ASCII) + 3), Text(folder)
    said = []
    with stock_attention(network):
        for index, prompt in enumerate(asked):
            sampling = Sampling(temperature=temperature, seed=derive(SEED, index))
            said.append(text.decode(decode(network, Request("x", text.prompt(prompt), NUM_TOKENS, sampling))))
    return said


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_every_text_is_the_full_networks_own(service: Service, tiny_llama: Path, temperature: float) -> None:
    service.start_control()
    service.start_device("--rows", "6", script=None)
    asked = prompts(40)
    jobs = [
        service.submit(asked, max_tokens=NUM_TOKENS, temperature=temperature, lane=lane)
        for lane in (Lane.BULK, Lane.INTERACTIVE)
    ]

    assert [service.wait(job_id) for job_id in jobs] == ["succeeded"] * 2
    expected = oracle_texts(tiny_llama, asked, temperature)
    for job_id in jobs:
        assert [item.output for item in service.items(job_id)] == expected


def test_texts_survive_a_power_cut(service: Service, tiny_llama: Path) -> None:
    service.start_control()
    device = service.start_device("--rows", "4", script=None)
    asked = prompts(40)
    job_id = service.submit(asked, max_tokens=NUM_TOKENS, temperature=0.9)
    until(lambda: service.num_done(job_id) >= 3)

    device.kill()
    assert service.num_done(job_id) < 40
    service.start_device("--rows", "4", script=None)

    assert service.wait(job_id) == "succeeded"
    assert [item.output for item in service.items(job_id)] == oracle_texts(tiny_llama, asked, 0.9)


@pytest.mark.usefixtures("tiny_llama")
def test_a_prompt_beyond_the_context_fails_and_its_siblings_succeed(service: Service) -> None:
    service.start_control()
    service.start_device(script=None)

    job_id = service.submit(["short", "x" * 600, "fine"], max_tokens=8)

    assert service.wait(job_id) == "succeeded"
    items = service.items(job_id)
    assert [item.status for item in items] == ["succeeded", "failed", "succeeded"]
    assert items[1].error["code"] == "context_length_exceeded"
    assert "600 prompt tokens and max_tokens 8 exceed the context of 512" in items[1].error["message"]
    assert items[1].attempts == 0


@pytest.mark.usefixtures("tiny_llama")
def test_a_document_beyond_the_context_is_summarised_in_parts(service: Service) -> None:
    service.start_control()
    service.start_device(script=None)
    long = " ".join(f"Sentence {number} says nothing new." for number in range(60))

    job_id = service.submit([long, "A short one."], max_tokens=40, kind=JobKind.SUMMARIZE)

    assert service.wait(job_id) == "succeeded"
    usage = service.rows("SELECT usage, decoding FROM items WHERE job_id = :job ORDER BY index", job=job_id)
    long_usage, short_usage = (row.usage for row in usage)
    assert long_usage["prompt_tokens"] > len(long)
    assert long_usage["completion_tokens"] > 3 * short_usage["completion_tokens"]
    assert all(row.decoding["tokens_per_second"] > 0 and row.decoding["verifies"] > 0 for row in usage)
