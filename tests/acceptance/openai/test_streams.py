"""Streams through the official client: token by token, to the last character, whatever happens on the way."""

from __future__ import annotations

import time
from typing import Any, Literal

import httpx
import pytest
from openai import APIError, APITimeoutError, BadRequestError, OpenAI, Stream
from openai.types import Completion, CompletionChoice
from openai.types.chat import ChatCompletionChunk

from models.keys import Scope, create_key, revoke_key
from tests.acceptance.openai.conftest import MODEL
from tests.acceptance.openai.test_completions import last_job
from tests.acceptance.workers.service import TENANT, Service, echo, until

HELLO: Any = [{"role": "user", "content": "h\u00e9llo"}]
SAID = "[user]h\u00e9llo>"  # one token a byte


class Piece(CompletionChoice):
    """A choice of a streamed completion.

    On OpenAI's own wire the reason is null until the last piece, and its client's type, made for whole completions too,
    has no null (openai/openai-openapi, pull request 100). Everything else is that type's.
    """

    finish_reason: Literal["stop", "length", "content_filter"] | None  # type: ignore[assignment]


class Chunk(Completion):
    """A chunk of a streamed completion."""

    choices: list[Piece]  # type: ignore[assignment]


def complete(client: OpenAI, **asked: Any) -> list[Chunk]:
    """The chunks of a completion, each held against its shape by the strict client."""
    body = {"model": MODEL, "stream": True, **asked}
    stream = client.post("/completions", cast_to=Chunk, body=body, stream=True, stream_cls=Stream[Chunk])
    return list(stream)


def offsets(chunks: list[Chunk]) -> list[int]:
    """Where the tokens of the first choice are said to begin."""
    listed = [choice.logprobs for chunk in chunks for choice in chunk.choices if choice.index == 0]
    return [offset for one in listed if one is not None for offset in one.text_offset or []]


def said(num_tokens: int) -> str:
    """What the model says, which may end in the middle of a character."""
    return echo(SAID.encode().decode("latin-1"), num_tokens).encode("latin-1").decode(errors="replace")


def test_a_chat_token_by_token(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=30, stream=True, stream_options={"include_usage": True}
    )
    times, chunks = [], []
    for chunk in stream:
        times.append(time.monotonic())
        chunks.append(chunk)
    first, *middle, last, usage = chunks

    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert first.choices[0].delta.to_dict() == {"role": "assistant", "content": ""}
    assert "".join(chunk.choices[0].delta.content or "" for chunk in middle) == (SAID * 3)[: 30 - 2]
    assert len(middle) > 20
    assert times[-1] - times[0] > 0.1  # as it came, not all at the end
    assert [chunk.choices[0].finish_reason for chunk in (first, *middle)] == [None] * (1 + len(middle))
    assert (last.choices[0].finish_reason, last.choices[0].delta.content) == ("length", None)
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.to_dict() == {"prompt_tokens": 13, "completion_tokens": 30, "total_tokens": 43}
    assert [chunk.usage for chunk in (first, *middle, last)] == [None] * (2 + len(middle))


def test_choices_and_log_probabilities_of_a_chat(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=5, n=2, logprobs=True, top_logprobs=1, stream=True
    )
    chunks = list(stream)

    for index in range(2):
        choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
        scored = [one for choice in choices if choice.logprobs for one in choice.logprobs.content or []]
        assert "".join(choice.delta.content or "" for choice in choices) == SAID[:5]
        assert [one.token for one in scored] == list(SAID[:5])
        assert choices[-1].finish_reason == "length"


def test_a_completion_of_several_prompts(client: OpenAI) -> None:
    chunks = complete(client, prompt=["abc", "xy"], max_tokens=6, logprobs=0)

    texts = {
        index: "".join(choice.text for chunk in chunks for choice in chunk.choices if choice.index == index)
        for index in range(2)
    }
    assert texts == {0: "abcabc", 1: "xyxyxy"}
    assert offsets(chunks) == list(range(6))
    assert {chunk.object for chunk in chunks} == {"text_completion"}


def test_a_completion_says_why_it_ends_in_its_last_piece(client: OpenAI) -> None:
    *pieces, last, usage = complete(client, prompt="abc", max_tokens=6, stream_options={"include_usage": True})

    assert {piece.choices[0].finish_reason for piece in pieces} == {None}
    assert last.choices[0].finish_reason == "length"
    assert (usage.choices, usage.usage and usage.usage.total_tokens) == ([], 9)


def test_the_clients_own_method_reads_a_completion(address: str, secret: str) -> None:
    """As everybody uses it, that is without strictness."""
    with OpenAI(base_url=f"{address}/v1", api_key=secret) as plain:
        chunks = list(plain.completions.create(model=MODEL, prompt="abc", max_tokens=6, stream=True))

    assert "".join(chunk.choices[0].text for chunk in chunks) == "abcabc"
    assert chunks[-1].choices[0].finish_reason == "length"


def test_what_could_become_a_stop_string_is_held_back(client: OpenAI) -> None:
    chunks = complete(client, prompt="abcde", stop="cd", max_tokens=20)

    assert "".join(chunk.choices[0].text for chunk in chunks) == "ab"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_an_early_failure_has_its_own_status(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as long:
        client.completions.create(model=MODEL, prompt="x" * 5000, stream=True)

    assert long.value.code == "context_length_exceeded"


def test_a_late_failure_is_an_event(client: OpenAI, world: Service) -> None:
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=4000, stream=True)
    next(iter(stream))
    world.cancel(last_job(world).id)

    with pytest.raises(APIError) as told:
        list(stream)

    assert told.value.code == "cancelled"


def test_a_client_that_hangs_up_cancels(client: OpenAI, world: Service) -> None:
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=4000, stream=True)
    next(iter(stream))
    stream.close()

    until(lambda: last_job(world).status == "cancelled", patience_s=10)


def test_a_stream_ends_with_its_key(address: str, world: Service) -> None:
    with world.database.session() as session:
        key, secret = create_key(session, TENANT, "passing", tuple(Scope))
    with OpenAI(base_url=f"{address}/v1", api_key=secret, max_retries=0) as passing:
        stream = passing.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=4000, stream=True)
        next(iter(stream))
        with world.database.session() as session:
            assert revoke_key(session, TENANT, key.id)

        with pytest.raises(APIError) as told:
            list(stream)

    assert told.value.code == "invalid_api_key"
    until(lambda: last_job(world).status == "cancelled", patience_s=10)


def test_a_client_that_hangs_up_may_come_back_for_its_text(client: OpenAI) -> None:
    once = {"Idempotency-Key": "stream-again"}

    def ask() -> Stream[ChatCompletionChunk]:
        return client.chat.completions.create(
            model=MODEL, messages=HELLO, max_tokens=100, stream=True, extra_headers=once
        )

    with ask() as first:
        next(iter(first))
    chunks = list(ask())

    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == said(100)


def test_a_client_that_hangs_up_before_the_first_token_cancels(client: OpenAI, world: Service) -> None:
    """All rows are taken, so nothing comes."""
    busy = world.submit(["busy"] * 40, max_tokens=4000)
    until(lambda: world.num_running(busy) >= 16)

    with pytest.raises(APITimeoutError):
        client.with_options(max_retries=0).completions.create(
            model=MODEL, prompt="x", max_tokens=4000, stream=True, timeout=0.7
        )
    until(lambda: last_job(world).id != busy and last_job(world).status == "cancelled", patience_s=10)
    assert world.status(busy) == "running"
    world.cancel(busy)


def test_without_redis_the_row_tells_it_all(client: OpenAI, world: Service) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=HELLO, max_tokens=200, stream=True, logprobs=True, stream_options={"include_usage": True}
    )
    iterator = iter(stream)
    chunks = [next(iterator) for _ in range(5)]
    world.flush_broker()  # what was told is gone, and what follows has a gap before it
    chunks += list(iterator)

    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    tokens = [one for c in chunks for choice in c.choices if choice.logprobs for one in choice.logprobs.content or []]
    assert text == said(200)
    assert len(tokens) == 200


def test_tokens_whose_text_is_held_back_begin_where_they_do(client: OpenAI) -> None:
    """Half of a stop string, which then is none, and half of a character."""
    asked: Any = {"prompt": "abc\u00e9", "max_tokens": 20, "logprobs": 0, "stop": ["bcx", "c\u00e9a\u00e9"]}

    chunks = complete(client, **asked)
    whole = client.completions.create(model=MODEL, **asked).choices[0]

    assert whole.logprobs is not None
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.text
    assert offsets(chunks) == whole.logprobs.text_offset


def test_an_item_that_is_done_again_goes_on_without_repetition(client: OpenAI, world: Service) -> None:
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=200, stream=True)
    iterator = iter(stream)
    chunks = [next(iterator) for _ in range(5)]
    world.device.find("echo_engine").kill()
    chunks += list(iterator)
    until(world.is_whole)

    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == said(200)


def test_a_stream_is_sent_as_events(address: str, secret: str) -> None:
    body = {"model": MODEL, "messages": HELLO, "max_tokens": 3, "stream": True}
    headers = {"Authorization": f"Bearer {secret}"}

    answer = httpx.post(f"{address}/v1/chat/completions", json=body, headers=headers)

    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.text.endswith("data: [DONE]\n\n")


def test_streams_give_their_places_back(client: OpenAI) -> None:
    """Twice as many as there are places, some of them abandoned."""
    for number in range(40):
        with client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=2, stream=True) as stream:
            if number % 2:
                list(stream)

    assert list(client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=2, stream=True))
