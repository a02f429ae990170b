"""Limits through the official client: an error of its own kind, or a second try that succeeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from openai import DefaultHttpxClient, OpenAI, RateLimitError

from tests.acceptance.openai.conftest import MODEL, start_api
from tests.acceptance.workers.service import Service, until

MANY = 50  # completions one after the other take less than as many seconds


@pytest.fixture(scope="module")
def narrow(world: Service) -> str:
    """Where an API listens that takes a request a second of each key, and has one place for those that wait."""
    return start_api(world, SKIM_RATE_LIMIT="1 per second", SKIM_API_THREADS="2")


@contextmanager
def watched(address: str, secret: str, max_retries: int) -> Iterator[tuple[OpenAI, list[int]]]:
    """A client, and the statuses of all answers that it gets."""
    seen: list[int] = []
    with (
        DefaultHttpxClient(event_hooks={"response": [lambda answer: seen.append(answer.status_code)]}) as http,
        OpenAI(base_url=f"{address}/v1", api_key=secret, max_retries=max_retries, http_client=http) as client,
    ):
        yield client, seen


def test_a_completion_over_the_rate_limit_is_refused(narrow: str, secret: str) -> None:
    with watched(narrow, secret, 0) as (client, _), pytest.raises(RateLimitError) as refused:
        for _ in range(MANY):
            client.completions.create(model=MODEL, prompt="a", max_tokens=1)

    assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert refused.value.response.headers["Retry-After"] in ("1", "2")


def test_a_completion_over_the_quota_is_refused(
    address: str, make_secret: Callable[[str], str], world: Service
) -> None:
    secret = make_secret("ten_frugal")
    world.rows("UPDATE tenants SET max_queued_tokens = 10 WHERE id = 'ten_frugal' RETURNING id")

    with watched(address, secret, 0) as (client, _):
        made = client.completions.create(model=MODEL, prompt="abc", max_tokens=10)
        with pytest.raises(RateLimitError) as refused:
            client.completions.create(model=MODEL, prompt="abc", max_tokens=11)

    assert made.choices[0].text == "abcabcabca"
    assert (refused.value.code, refused.value.type) == ("insufficient_quota", "insufficient_quota")


def test_a_client_tries_again_what_was_over_the_rate_limit(narrow: str, secret: str) -> None:
    with watched(narrow, secret, 5) as (client, seen):
        made = [client.completions.create(model=MODEL, prompt="ab", max_tokens=2) for _ in range(3)]

    assert [one.choices[0].text for one in made] == ["ab"] * 3
    assert set(seen) == {200, 429}


def test_a_client_tries_again_what_found_no_place(narrow: str, secret: str, world: Service) -> None:
    job_id = world.submit(["busy"], max_tokens=4000)
    key = {"Authorization": f"Bearer {secret}"}
    time.sleep(1)  # the limit is the test's before

    with (
        ThreadPoolExecutor(1) as pool,
        watched(narrow, secret, 8) as (client, seen),
        httpx.stream("GET", f"{narrow}/v1/jobs/{job_id}/events", headers=key) as held,
    ):
        asked = pool.submit(client.completions.create, model=MODEL, prompt="ab", max_tokens=2)
        until(lambda: 503 in seen)
        world.cancel(job_id)  # which ends the stream
        made = asked.result()

    assert held.status_code == 200
    assert made.choices[0].text == "ab"
    assert seen[-1] == 200
