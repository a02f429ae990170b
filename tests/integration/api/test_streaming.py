"""Streams put together from what Redis still has of a text and from the item's row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from apiflask import APIFlask

from api.extension import EXTENSION
from api.services import Services
from models.database import Database
from tests.integration.api.conftest import MODEL, Caller
from tests.integration.api.test_completions import ONCE, ask_and_hang_up, jobs
from tests.integration.api.test_jobs import Hands
from workers.queues import Piece, TextReader, TextWriter

TOKENS = ("h", "\u00e9", "llo", " wor", "ld")
BODY: Any = {"model": MODEL, "prompt": "a", "logprobs": 0}


@pytest.fixture
def writer(app: APIFlask, redis_url: str) -> Iterator[TextWriter]:
    """What a worker tells its text by, and the service reads."""
    found: Services = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(found, reader=TextReader(redis_url))
    writer = TextWriter(redis_url)
    yield writer
    writer.close()
    app.extensions[EXTENSION].reader.close()


def logprob(token: str) -> dict[str, Any]:
    """Of a token, as items keep it."""
    return {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []}


def piece(number: int) -> Piece:
    """One token, and its text."""
    offset = len("".join(TOKENS[:number]))
    return Piece(0, number, 1, offset, TOKENS[number], [logprob(TOKENS[number])])


def choices(text: str) -> list[dict[str, Any]]:
    """Those of a stream's chunks."""
    data = [block.removeprefix("data: ") for block in text.split("\n\n") if block]
    assert data[-1] == "[DONE]"
    return [choice for one in data[:-1] for choice in json.loads(one)["choices"]]


def test_what_comes_after_a_gap_says_where_it_is(caller: Caller, database: Database, writer: TextWriter) -> None:
    ask_and_hang_up(caller, ONCE, is_stream=True, **BODY)
    (job,) = jobs(database)
    for number in (0, 1, 4):
        writer.put(job.id, 0, piece(number))
    writer.close()
    hands = Hands(database, job.id)
    hands.write([0], output="".join(TOKENS), logprobs={"content": [logprob(token) for token in TOKENS]})
    hands.finish()

    told = choices(caller.post("/v1/completions", {**BODY, "stream": True}, headers=ONCE).text)

    listed = [choice["logprobs"] for choice in told if choice["logprobs"]]
    assert [choice["text"] for choice in told] == ["h", "\u00e9", "llo world"]
    assert [token for one in listed for token in one["tokens"]] == list(TOKENS)
    assert [offset for one in listed for offset in one["text_offset"]] == [0, 1, 2, 5, 9]
