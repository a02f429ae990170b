"""Batches through the official client: what is refused before anything runs, what comes out, and every way to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI, RateLimitError
from openai.types import Batch
from openai.types.chat import ChatCompletionMessage

from tests.acceptance.openai.conftest import MODEL, count_jobs, wait
from tests.acceptance.workers.service import Service, until

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
ENDED = ("completed", "failed", "expired", "cancelled")


def chat(custom_id: str, content: Any = "hello", **body: Any) -> dict[str, Any]:
    """A line for chat completions."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": 8, **body}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": asked}


def text(custom_id: str, prompt: str, **body: Any) -> dict[str, Any]:
    """A line for completions."""
    asked = {"model": MODEL, "prompt": prompt, "max_tokens": 8, **body}
    return {"custom_id": custom_id, "method": "POST", "url": TEXT, "body": asked}


def upload(client: OpenAI, *lines: Any) -> str:
    """A file of lines; text goes as it is, everything else as JSON."""
    data = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return client.files.create(file=("input.jsonl", data.encode()), purpose="batch").id


def create(client: OpenAI, *lines: Any, endpoint: str = CHAT, window: str = "24h", **more: Any) -> Batch:
    """A batch of these lines."""
    return over(client, upload(client, *lines), endpoint=endpoint, window=window, **more)


def over(client: OpenAI, file_id: str, endpoint: str = CHAT, window: str = "24h", **more: Any) -> Batch:
    """A batch over a file."""
    return client.batches.create(
        input_file_id=file_id,
        endpoint=endpoint,  # type: ignore[arg-type]
        completion_window=window,  # type: ignore[arg-type]
        **more,
    )


def finish(client: OpenAI, batch: Batch) -> Batch:
    """The batch once it has ended."""
    ended = wait(lambda: client.batches.retrieve(batch.id), ENDED)
    assert isinstance(ended, Batch)
    return ended


def read(client: OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    """The lines of a file, whose stated length must be right."""
    assert file_id is not None
    content = client.files.content(file_id).content
    assert client.files.retrieve(file_id).bytes == len(content)
    return [json.loads(line) for line in content.splitlines()]


def test_a_batch_of_chats(client: OpenAI) -> None:
    made = create(client, chat("a", "one"), chat("b", "two", max_completion_tokens=3), metadata={"team": "x"})

    ended = finish(client, made)
    first, second = read(client, ended.output_file_id)

    assert made.status in ("in_progress", "finalizing", "completed")
    assert (made.endpoint, made.completion_window, made.metadata) == (CHAT, "24h", {"team": "x"})
    assert made.expires_at is not None
    assert abs(made.expires_at - made.created_at - 24 * 3600) <= 1
    assert ended.status == "completed"
    assert ended.request_counts is not None
    assert ended.request_counts.to_dict() == {"total": 2, "completed": 2, "failed": 0}
    assert ended.error_file_id is None
    assert ended.errors is None
    assert None not in (ended.in_progress_at, ended.finalizing_at, ended.completed_at)
    assert ended.usage is not None
    assert ended.usage.output_tokens == 8 + 3
    assert (first["custom_id"], first["error"], first["response"]["status_code"]) == ("a", None, 200)
    assert first["response"]["body"]["object"] == "chat.completion"
    assert first["response"]["body"]["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "[user]on", "refusal": None},
            "finish_reason": "length",
            "logprobs": None,
        }
    ]
    assert first["response"]["body"]["usage"] == {"prompt_tokens": 10, "completion_tokens": 8, "total_tokens": 18}
    assert second["response"]["body"]["choices"][0]["message"]["content"] == "[us"


def test_an_answer_goes_back_as_it_came(client: OpenAI) -> None:
    """As it stands in an output file, and as the client writes it out."""
    (line,) = read(client, finish(client, create(client, chat("a", "one"))).output_file_id)
    reply = line["response"]["body"]["choices"][0]["message"]
    in_full = ChatCompletionMessage.model_validate(reply).model_dump()
    asked = {"role": "user", "content": "two"}

    made = create(
        client, *[chat(name, messages=[one, asked], max_tokens=30) for name, one in (("b", reply), ("c", in_full))]
    )
    first, second = (one["response"]["body"]["choices"] for one in read(client, finish(client, made).output_file_id))

    assert first == second
    assert first[0]["message"]["content"] == "[assistant][user]on[user]two>["


def test_a_batch_of_completions_takes_any_window(client: OpenAI) -> None:
    made = create(client, text("a", "abc"), text("b", "xyz", max_tokens=2), endpoint=TEXT, window="90m")

    lines = read(client, finish(client, made).output_file_id)

    assert made.expires_at is not None
    assert abs(made.expires_at - made.created_at - 90 * 60) <= 1
    assert [line["response"]["body"]["choices"][0]["text"] for line in lines] == ["abcabcab", "xy"]
    assert {line["response"]["body"]["object"] for line in lines} == {"text_completion"}


def test_what_cannot_be_answered_goes_to_the_error_file(client: OpenAI) -> None:
    made = create(client, text("good", "abc"), text("bad", "abc", logit_bias={"999999999": 1}), endpoint=TEXT)

    ended = finish(client, made)
    (good,), (bad,) = read(client, ended.output_file_id), read(client, ended.error_file_id)

    assert ended.status == "completed"
    assert ended.request_counts is not None
    assert ended.request_counts.to_dict() == {"total": 2, "completed": 1, "failed": 1}
    assert good["custom_id"] == "good"
    assert (bad["custom_id"], bad["response"], bad["error"]["code"]) == ("bad", None, "token_out_of_range")


def test_output_files_are_files_like_others(client: OpenAI, stranger: OpenAI) -> None:
    expires_after: Any = {"anchor": "created_at", "seconds": 7200}
    made = create(client, text("a", "abc"), endpoint=TEXT, output_expires_after=expires_after)
    before = {file.id for file in client.files.list(purpose="batch_output")}
    ended = finish(client, made)

    assert ended.output_file_id is not None
    file = client.files.retrieve(ended.output_file_id)
    listed = {file.id for file in client.files.list(purpose="batch_output")}

    assert (file.purpose, file.filename) == ("batch_output", f"{made.id}_output.jsonl")
    assert file.expires_at == file.created_at + 7200
    assert listed - before <= {file.id} <= listed
    with pytest.raises(NotFoundError):
        stranger.files.content(file.id)
    client.files.delete(file.id)
    with pytest.raises(NotFoundError):
        client.files.retrieve(file.id)


@pytest.mark.parametrize(
    ("lines", "line", "code", "param"),
    [
        ([chat("a"), chat("b"), chat("a")], 3, "duplicate_custom_id", "custom_id"),
        ([chat("a"), chat("b", model="other")], 2, "mismatched_model", "body.model"),
        ([chat("a", model="nobody")], 1, "model_not_found", "body.model"),
        ([chat("a", stream=True)], 1, "stream_not_supported", "body.stream"),
        ([chat("a"), {**chat("b"), "url": TEXT}], 2, "invalid_url", "url"),
        ([chat("a"), {**chat("b"), "method": "GET"}], 2, "invalid_method", "method"),
        ([{**chat("a"), "custom_id": ""}], 1, "invalid_custom_id", "custom_id"),
        ([chat("a"), '{"custom_id": "b",'], 2, "invalid_json_line", None),
        ([chat("a"), "[1]"], 2, "invalid_request", None),
        ([chat("a"), "", chat("b")], 2, "invalid_line", None),
        ([chat("a", temperature=-1)], 1, "invalid_request", "body.temperature"),
        ([chat("a", max_tokens=5000)], 1, "invalid_request", "body.max_tokens"),
        ([chat("a"), chat("b", "x" * 5000)], 2, "context_length_exceeded", "body.messages"),
        ([chat("a", tools=[{"type": "function"}])], 1, "invalid_request", "body.tools"),
        ([chat("a", colour="red")], 1, "invalid_request", "body.colour"),
        ([chat("a", messages=[])], 1, "invalid_request", "body.messages"),
        ([chat("a", [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}])], 1, "invalid_request",
         "body.messages[0].content[0].type"),
        (["\n"], None, "empty_file", None),
    ],
)  # fmt: skip
def test_a_bad_line_is_named_and_nothing_runs(
    client: OpenAI, world: Service, lines: list[Any], line: int | None, code: str, param: str | None
) -> None:
    before = count_jobs(world)

    made = create(client, *lines)

    assert made.status == "failed"
    assert made.failed_at is not None
    assert made.errors is not None
    assert made.errors.data is not None
    error = made.errors.data[0]
    assert (error.line, error.code, error.param) == (line, code, param)
    assert error.message
    assert count_jobs(world) == before


def test_every_bad_line_is_named_up_to_a_hundred(client: OpenAI) -> None:
    made = create(client, *[chat(f"c{number}", temperature=-1) for number in range(150)])

    assert made.errors is not None
    assert made.errors.data is not None
    assert [error.line for error in made.errors.data] == list(range(1, 101))


def test_a_batch_over_no_file_or_a_wrong_one(client: OpenAI, impatient: OpenAI, stranger: OpenAI) -> None:
    gone, theirs = upload(client, chat("a")), upload(stranger, chat("a"))
    client.files.delete(gone)
    other = client.files.create(file=b"x", purpose="user_data").id

    for file_id in (gone, theirs, "file-nobody"):
        with pytest.raises(NotFoundError) as unknown:
            over(impatient, file_id)
        assert (unknown.value.code, unknown.value.param) == ("file_not_found", "input_file_id")
    with pytest.raises(BadRequestError, match="purpose user_data"):
        over(impatient, other)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"completion_window": "31d"}, "completion_window"),
        ({"completion_window": "0h"}, "completion_window"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
        ({"metadata": {"a": 1}}, "metadata.a"),
    ],
)
def test_a_bad_request_is_refused_by_field(client: OpenAI, changes: dict[str, Any], param: str) -> None:
    body = {"input_file_id": upload(client, chat("a")), "endpoint": CHAT, "completion_window": "24h", **changes}

    with pytest.raises(BadRequestError) as refused:
        client.post("/batches", body=body, cast_to=Batch)

    assert refused.value.param == param


def test_what_was_answered_before_a_cancellation_is_kept(client: OpenAI) -> None:
    lines = [text(f"c{number}", f"{number:03}", max_tokens=20) for number in range(150)]
    made = create(client, *lines, text("endless", "x", max_tokens=4000), endpoint=TEXT)
    until(lambda: (client.batches.retrieve(made.id).request_counts or made.request_counts).completed >= 3)  # type: ignore[union-attr]

    asked = client.batches.cancel(made.id)
    ended = finish(client, made)
    kept, lost = read(client, ended.output_file_id), read(client, ended.error_file_id)

    assert asked.status in ("cancelling", "cancelled")
    assert asked.cancelling_at is not None
    assert (ended.status, ended.cancelled_at is None) == ("cancelled", False)
    assert len(kept) >= 3
    assert len(kept) + len(lost) == 151
    assert {line["error"]["code"] for line in lost} == {"batch_cancelled"}
    with pytest.raises(BadRequestError, match="it is cancelled"):
        client.batches.cancel(made.id)


def test_what_was_answered_before_the_window_closed_is_kept(client: OpenAI) -> None:
    lines = [text("quick", "abc"), text("endless", "x", max_tokens=4000)]

    ended = finish(client, create(client, *lines, endpoint=TEXT, window="3s"))

    assert (ended.status, ended.expired_at is None) == ("expired", False)
    assert [line["custom_id"] for line in read(client, ended.output_file_id)] == ["quick"]
    assert [line["error"]["code"] for line in read(client, ended.error_file_id)] == ["batch_expired"]


def test_a_batch_that_has_ended_cannot_be_cancelled(client: OpenAI, impatient: OpenAI) -> None:
    done = finish(client, create(client, text("a", "abc"), endpoint=TEXT))
    refused = create(client, "no line")

    for batch in (done, refused):
        with pytest.raises(BadRequestError) as error:
            impatient.batches.cancel(batch.id)
        assert error.value.code == "batch_not_cancellable"


def test_batches_are_listed_page_by_page_and_belong_to_their_tenant(client: OpenAI, stranger: OpenAI) -> None:
    ids = [create(client, text("a", "abc"), endpoint=TEXT).id for _ in range(3)]

    listed = [batch.id for batch in client.batches.list(limit=2)]

    assert listed[:3] == list(reversed(ids))
    assert len(listed) == len(set(listed))
    assert list(stranger.batches.list()) == []
    for look in (stranger.batches.retrieve, stranger.batches.cancel):
        with pytest.raises(NotFoundError):
            look(ids[0])


def test_a_repeated_creation_is_one_batch(client: OpenAI) -> None:
    file_id, once = upload(client, text("a", "abc")), {"Idempotency-Key": "batch"}

    first, second = (over(client, file_id, endpoint=TEXT, extra_headers=once) for _ in range(2))

    assert first.id == second.id


def test_a_batch_over_quota_is_a_rate_limit_and_can_be_tried_again(
    address: str, make_secret: Callable[[str], str], world: Service
) -> None:
    """The same request, once there is room for it."""
    with OpenAI(base_url=f"{address}/v1", api_key=make_secret("ten_small"), max_retries=0) as small:
        file_id, once = upload(small, text("a", "abc"), text("b", "xyz", max_tokens=3)), {"Idempotency-Key": "quota"}
        world.rows("UPDATE tenants SET max_queued_tokens = 10 WHERE id = 'ten_small' RETURNING id")

        with pytest.raises(RateLimitError, match="at most 10 tokens") as refused:
            over(small, file_id, endpoint=TEXT, extra_headers=once)
        world.rows("UPDATE tenants SET max_queued_tokens = 11 WHERE id = 'ten_small' RETURNING id")
        ended = finish(small, over(small, file_id, endpoint=TEXT, extra_headers=once))

    assert (refused.value.code, refused.value.type) == ("insufficient_quota", "insufficient_quota")
    assert refused.value.response.headers["Retry-After"] == "10"
    assert ended.status == "completed"


def test_one_request_says_the_same_wherever_it_stands(client: OpenAI, world: Service) -> None:
    """Own parameters are kept with the item, beside the job's."""
    made = create(client, text("a", "abc", temperature=0.5, seed=-1, stop="z"), text("b", "abc"), endpoint=TEXT)
    job_id = made.to_dict()["job_id"]

    sizes = {"max_tokens": 8, "n": 1, "logprobs": None, "fill_context": False}
    rows = world.rows("SELECT input -> 'parameters' AS own FROM items WHERE job_id = :id ORDER BY index", id=job_id)

    assert [row.own for row in rows] == [
        {**sizes, "temperature": 0.5, "seed": 2**63 - 1, "stop": ["z"]},
        sizes,
    ]


def test_lines_may_ask_for_choices_of_their_own(client: OpenAI) -> None:
    made = create(client, text("one", "abc"), text("two", "xyz", n=2, max_tokens=3), endpoint=TEXT)

    one, two = read(client, finish(client, made).output_file_id)

    assert [choice["text"] for choice in one["response"]["body"]["choices"]] == ["abcabcab"]
    assert [choice["text"] for choice in two["response"]["body"]["choices"]] == ["xyz", "xyz"]


def test_a_check_that_was_interrupted_fails(client: OpenAI, world: Service) -> None:
    """Whoever checked the lines is gone: the sweep ends the batch."""
    made = create(client, text("a", "abc"), endpoint=TEXT)
    finish(client, made)
    world.rows(
        "UPDATE batches SET job_id = NULL, checking_until = now() WHERE id = :id RETURNING id",
        id=made.id,
    )

    ended = wait(lambda: client.batches.retrieve(made.id), ("failed",))

    assert ended.errors.data[0].code == "validation_interrupted"
