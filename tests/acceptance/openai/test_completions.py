"""The completion routes through the official client: answers, errors, and clients that go away."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import (
    APITimeoutError,
    BadRequestError,
    ConflictError,
    NotFoundError,
    OpenAI,
    UnprocessableEntityError,
)
from openai.types import Completion

from tests.acceptance.openai.conftest import MODEL, count_jobs
from tests.acceptance.workers.conftest import ECHO_LENGTH
from tests.acceptance.workers.service import Service, until
from workers.text import Text

HELLO: Any = [{"role": "user", "content": "hello"}]
ANSWER: Any = {"role": "assistant", "content": "x"}
PICTURE: Any = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def last_job(world: Service) -> Any:
    """Id, status and lane of the newest job."""
    return world.rows("SELECT id, status, lane, parameters FROM jobs ORDER BY id DESC LIMIT 1")[0]


def test_a_chat(client: OpenAI, world: Service) -> None:
    messages: Any = [
        {"role": "developer", "content": "be"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "x"},
    ]

    answer = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=messages, max_completion_tokens=30, seed=5, user="u", metadata={"a": "b"}, store=False
    )
    made, job = answer.parse(), last_job(world)

    assert made.object == "chat.completion"
    assert made.model == MODEL
    assert [choice.to_dict() for choice in made.choices] == [
        {
            "index": 0,
            "finish_reason": "length",
            "logprobs": None,
            "message": {"role": "assistant", "content": "[system]be[user]ab>[system]be[", "refusal": None},
        }
    ]
    assert made.usage is not None
    assert made.usage.to_dict() == {"prompt_tokens": 19, "completion_tokens": 30, "total_tokens": 49}
    assert (answer.headers["X-Skim-Job-Id"], made.id) == (job.id, f"chatcmpl-{job.id.removeprefix('job_')}")
    assert (job.status, job.lane, job.parameters["seed"], job.parameters["temperature"]) == (
        "succeeded", "interactive", 5, 1.0
    )  # fmt: skip


@pytest.mark.parametrize("in_full", [False, True])
def test_an_answer_goes_back_as_it_came(client: OpenAI, in_full: bool) -> None:
    """As every client's loop does it, and written out, when it has every member that an answer could have had."""
    messages: Any = [{"role": "user", "content": "one"}]
    first = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=6).choices[0].message

    messages.append(first.model_dump() if in_full else first)
    messages.append({"role": "user", "content": "two"})
    made = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=38)

    assert made.choices[0].message.content == "[user]one[assistant][user][user]two>[user]"[:38]


def test_left_out_lengths_are_openais(client: OpenAI) -> None:
    """Of a chat what the prompt leaves of the context, of a completion 16."""
    messages: Any = [{"role": "user", "content": "h" * (ECHO_LENGTH - 100)}]
    chat = client.chat.completions.create(model=MODEL, messages=messages)
    text = client.completions.create(model=MODEL, prompt="abc")

    assert chat.usage is not None
    assert chat.usage.total_tokens == ECHO_LENGTH
    assert 0 < chat.usage.completion_tokens < 100
    assert chat.choices[0].finish_reason == "length"
    assert text.usage is not None
    assert text.usage.completion_tokens == 16


def test_a_completion_of_several_prompts(client: OpenAI) -> None:
    made = client.completions.create(model=MODEL, prompt=["abc", "xy"], max_tokens=4, temperature=0)

    assert made.object == "text_completion"
    assert [(choice.index, choice.text, choice.finish_reason) for choice in made.choices] == [
        (0, "abca", "length"),
        (1, "xyxy", "length"),
    ]
    assert made.usage is not None
    assert made.usage.to_dict() == {"prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 13}


def test_token_ids_are_prompts_too(client: OpenAI, world: Service) -> None:
    abc = list(Text(Path(world.rows("SELECT source FROM models")[0].source)).prompt("abc"))

    one = client.completions.create(model=MODEL, prompt=abc, max_tokens=4)
    several = client.completions.create(model=MODEL, prompt=[abc, abc[1:]], max_tokens=4)

    assert [choice.text for choice in (*one.choices, *several.choices)] == ["abca", "abca", "bcbc"]
    assert several.usage is not None
    assert several.usage.to_dict() == {"prompt_tokens": 5, "completion_tokens": 8, "total_tokens": 13}


def test_choices_and_log_probabilities_of_a_chat(client: OpenAI) -> None:
    made = client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=2, n=2, logprobs=True, top_logprobs=2, logit_bias={"65": 1}
    )

    assert [choice.index for choice in made.choices] == [0, 1]
    assert {choice.message.content for choice in made.choices} == {"[u"}
    logprobs = made.choices[1].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [(one.token, one.logprob, one.bytes) for one in logprobs.content] == [("[", -0.5, [91]), ("u", -0.5, [117])]
    assert [(top.token, top.logprob) for top in logprobs.content[0].top_logprobs] == [("[", -0.5), ("Z", -1.5)]


def test_choices_and_log_probabilities_of_a_completion(client: OpenAI) -> None:
    made = client.completions.create(model=MODEL, prompt=["a\u00e9", "xy"], max_tokens=4, n=2, logprobs=1)

    assert [(choice.index, choice.text) for choice in made.choices] == [
        (0, "a\u00e9a"), (1, "a\u00e9a"), (2, "xyxy"), (3, "xyxy")
    ]  # fmt: skip
    logprobs = made.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs == [-0.5] * 4
    assert (logprobs.tokens or [])[0] == "a"
    assert logprobs.text_offset == [0, 1, 1, 2]
    assert (logprobs.top_logprobs or [])[0] == {"a": -0.5}


def test_a_stop_string_ends_a_text(client: OpenAI) -> None:
    choice = client.completions.create(model=MODEL, prompt="abcde", stop=["d"]).choices[0]

    assert (choice.text, choice.finish_reason) == ("abc", "stop")


def test_an_answer_comes_as_soon_as_it_is_made(client: OpenAI) -> None:
    client.completions.create(model=MODEL, prompt="warm", max_tokens=1)

    times = []
    for _ in range(5):
        start = time.monotonic()
        client.completions.create(model=MODEL, prompt="abc", max_tokens=1)
        times.append(time.monotonic() - start)

    assert min(times) < 0.5  # not by the next look at the row, which would be 2 s


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, PICTURE]}]},
         "messages[0].content[1].type"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "a\0b"}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "refusal": "no"}]}, "messages[0].refusal"),
        ({"messages": [{**ANSWER, "tool_calls": [{"id": "a", "type": "function"}]}]}, "messages[0].tool_calls"),
        ({"messages": [{**ANSWER, "function_call": {"name": "f", "arguments": ""}}]}, "messages[0].function_call"),
        ({"messages": [{**ANSWER, "audio": {"id": "a"}}]}, "messages[0].audio"),
        ({"messages": [{**ANSWER, "annotations": [{"type": "url_citation"}]}]}, "messages[0].annotations"),
        ({"messages": HELLO, "temperature": -1}, "temperature"),
        ({"messages": HELLO, "max_tokens": 4096}, "max_tokens"),
        ({"messages": HELLO, "max_completion_tokens": 4096}, "max_completion_tokens"),
        ({"messages": HELLO, "tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"messages": HELLO, "response_format": {"type": "json_object"}}, "response_format.type"),
        ({"messages": HELLO, "colour": "red"}, "colour"),
        ({"messages": HELLO, "n": 17}, "n"),
        ({"messages": HELLO, "top_logprobs": 2}, "top_logprobs"),
        ({"messages": HELLO, "max_tokens": 2000, "logprobs": True, "top_logprobs": 20, "n": 3}, "logprobs"),
        ({"messages": HELLO, "min_tokens": 5000}, "min_tokens"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_by_field(
    client: OpenAI, world: Service, body: Any, param: str | None
) -> None:
    before = count_jobs(world)

    with pytest.raises(BadRequestError) as refused:
        client.post("/chat/completions", body={"model": MODEL, **body}, cast_to=object)

    assert refused.value.param == param
    assert count_jobs(world) == before


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (5, "prompt"),
        ([], "prompt"),
        ("a\0b", "prompt"),
        (["a", 5], "prompt[1]"),
        ([1, "a"], "prompt[1]"),
        ([1, -1], "prompt[1]"),
        ([[1], [2, 0.5]], "prompt[1][1]"),
        ([[1], []], "prompt[1]"),
        ([1] * 5000, "prompt"),
    ],
)
def test_a_prompt_that_is_none_is_refused_by_its_place(client: OpenAI, prompt: Any, param: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.completions.create(model=MODEL, prompt=prompt)

    assert refused.value.param == param


def test_errors_that_only_the_worker_finds(client: OpenAI, world: Service) -> None:
    with pytest.raises(BadRequestError) as long:
        client.completions.create(model=MODEL, prompt="x" * 5000)
    with pytest.raises(NotFoundError) as unknown:
        client.completions.create(model="nobody", prompt="x")

    assert (long.value.code, long.value.type) == ("context_length_exceeded", "invalid_request_error")
    assert unknown.value.code == "model_not_found"


def test_a_job_cancelled_by_somebody_else_is_not_sent_again(client: OpenAI, world: Service) -> None:
    before = count_jobs(world)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.completions.create, model=MODEL, prompt="x", max_tokens=4000)
        until(lambda: count_jobs(world) > before)
        world.cancel(last_job(world).id)
        with pytest.raises(ConflictError):
            asked.result()

    assert count_jobs(world) == before + 1


def test_a_client_that_hangs_up_cancels(impatient: OpenAI, world: Service) -> None:
    with pytest.raises(APITimeoutError):
        impatient.completions.create(model=MODEL, prompt="x", max_tokens=4000, timeout=1)

    until(lambda: last_job(world).status == "cancelled", patience_s=10)


def test_a_client_that_hangs_up_may_come_back_for_its_answer(impatient: OpenAI, world: Service) -> None:
    before, once = count_jobs(world), {"Idempotency-Key": "come-back"}

    def ask(timeout_s: float) -> Completion:
        return impatient.completions.create(
            model=MODEL, prompt="x", max_tokens=300, timeout=timeout_s, extra_headers=once
        )

    with pytest.raises(APITimeoutError):
        ask(1)
    made = ask(60)

    assert made.choices[0].text == "x" * 300
    assert count_jobs(world) == before + 1


def test_a_repeated_request_is_one_job(client: OpenAI, world: Service) -> None:
    before, once = count_jobs(world), {"Idempotency-Key": "complete"}

    first, second = (client.completions.create(model=MODEL, prompt="abc", extra_headers=once) for _ in range(2))

    assert first == second
    assert count_jobs(world) == before + 1
    with pytest.raises(UnprocessableEntityError):
        client.completions.create(model=MODEL, prompt="abd", extra_headers=once)


def test_two_requests_with_one_key_at_the_same_moment(client: OpenAI, world: Service) -> None:
    before, once = count_jobs(world), {"Idempotency-Key": "together"}
    with ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(client.completions.create, model=MODEL, prompt="abc", max_tokens=40, extra_headers=once)
            for _ in range(4)
        ]
        answers = [one.result() for one in asked]

    assert len({answer.id for answer in answers}) == 1
    assert count_jobs(world) == before + 1


def test_what_comes_over_http_is_a_problem_that_says_whether_to_retry(
    address: str, secret: str, world: Service
) -> None:
    job_id = world.submit(["abc"])
    world.wait(job_id)

    refused = httpx.post(f"{address}/v1/jobs/{job_id}/cancel", headers={"Authorization": f"Bearer {secret}"})

    assert (refused.status_code, refused.headers["x-should-retry"]) == (409, "false")
