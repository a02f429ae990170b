"""When a connection is worth a thread: once its request is there, as far as the loop gathers one."""

from __future__ import annotations

import pytest

from api.connection import GATHERED_BYTES, is_worth_a_thread

HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: skim\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "needed"),
    [
        (HEAD + b"\r\n", len(HEAD) + 2),
        (HEAD + b"Content-Length: 5\r\n\r\n01234", len(HEAD) + 26),
        (HEAD + b"CONTENT-LENGTH:\t5 \r\nX: 1\r\n\r\n01234", len(HEAD) + 33),
        (HEAD + b"Content-Length: 0\r\n\r\n", len(HEAD) + 21),
        # Too long to gather, of no length, or with none that is one: the head is enough.
        (HEAD + b"Content-Length: 70000\r\n\r\n0", len(HEAD) + 25),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n", len(HEAD) + 30),
        (HEAD + b"Content-Length: -5\r\n\r\n", len(HEAD) + 22),
        (HEAD + b"X-Content-Length: 5\r\n\r\n", len(HEAD) + 23),
        # What looks like a header in a body is none.
        (HEAD + b"\r\n\r\nContent-Length: 5\r\n\r\n", len(HEAD) + 2),
        (b"\n".join([HEAD.replace(b"\r\n", b"\n"), b"0"]), len(HEAD) - 1),
    ],
)
def test_nothing_less_and_nothing_more_is_waited_for(request_bytes: bytes, needed: int) -> None:
    found = [end for end in range(len(request_bytes) + 1) if is_worth_a_thread(request_bytes[:end])]

    assert found == list(range(needed, len(request_bytes) + 1))


def test_a_head_without_an_end_is_gathered_so_far_and_no_further() -> None:
    assert not is_worth_a_thread(b"x" * (GATHERED_BYTES - 1))
    assert is_worth_a_thread(b"x" * GATHERED_BYTES)
