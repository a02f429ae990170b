"""Text that is meant for SQL, for headers or for a path is text: it comes back as it was sent, or is refused."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.security.conftest import MODEL, Client, Site
from tests.tools.wire import head, status, talk

NASTY = [
    "' OR '1'='1",
    "'; DROP TABLE jobs; --",
    '"; SELECT pg_sleep(9); --',
    "\\'; SELECT 1; --",
    "$1 %s %(id)s {0} :id ${jndi:ldap://127.0.0.1/a}",
    "job_0' UNION SELECT hash FROM api_keys --",
    "a\r\nX-Evil: 1\r\n\r\nHTTP/1.1 200 OK",
    "<script>alert(1)</script>",
    "../../../etc/passwd",
    "\u202egpj.exe\u2028\u0085",
    "\U0001f600é\ufffe",
]
BAD_HEADERS = [b"'; DROP TABLE jobs; --", b"a b", b"\xff\xfe", b"\xed\xa0\x80", b"a\x01b", b"k" * 256, b"a\tb"]
LONG = b"x" * 20_000
EVENT = "job_0-0-0-" + "0" * 32


@pytest.fixture(scope="module")
def caller(site: Site) -> Client:
    return site.client("ten_nasty")


def is_clean(answer: httpx.Response) -> bool:
    """No failure of ours, and no header that somebody else wrote."""
    return answer.status_code < 500 and "x-evil" not in answer.headers and "HTTP/1.1" not in str(answer.headers)


@pytest.mark.parametrize("text", NASTY)
def test_text_of_a_job_comes_back_as_it_was_sent(site: Site, caller: Client, text: str) -> None:
    given = {"custom_id": text, "messages": [{"role": "user", "content": text}]}
    job = caller.submit(inputs=[given], metadata={text: text}, parameters={"stop": [text]})
    items = caller.made("GET", f"/v1/jobs/{job['id']}/items")["data"]
    stored = site.rows("SELECT input FROM items WHERE job_id = :job", job=job["id"])[0].input

    assert (job["metadata"], job["parameters"]["stop"]) == ({text: text}, [text])
    assert [item["custom_id"] for item in items] == [text]
    assert stored["messages"] == given["messages"]


@pytest.mark.parametrize("text", NASTY)
def test_names_come_back_as_they_were_sent(site: Site, text: str) -> None:
    operator = site.client()

    key = operator.made("POST", "/v1/keys", json={"name": text, "scopes": ["jobs"]})
    tenant = operator.made("POST", "/v1/tenants", json={"name": text})

    assert (key["name"], tenant["name"]) == (text, text)
    assert operator.made("GET", f"/v1/tenants/{tenant['id']}")["name"] == text


@pytest.mark.parametrize("text", NASTY)
def test_whatever_stands_in_a_query_or_a_path_is_refused(site: Site, caller: Client, text: str) -> None:
    """None of these is an id, a name or a number of anything."""
    paths = httpx.get(f"{site.url}/openapi.json").json()["paths"]
    for path, operations in paths.items():
        for parameter in operations.get("get", {}).get("parameters", []):
            ids = dict.fromkeys((one["name"] for one in operations["get"]["parameters"] if one["in"] == "path"), MODEL)
            if parameter["in"] == "query":
                answer = caller.send("GET", path.format(**ids), params={parameter["name"]: text})
                field = answer.json().get("errors", [{}])[0].get("field")
                # Files may be asked for by any purpose: of an unknown one there are none.
                is_open = (path, parameter["name"]) == ("/v1/files", "purpose")
                assert is_clean(answer) and (is_open or (answer.status_code, field) == (400, parameter["name"])), path
            elif parameter["in"] == "path":
                quoted = httpx.URL("http://h/", params={"q": text}).query.decode()[2:].replace("+", "%20")
                answer = caller.send("GET", path.format(**{**ids, parameter["name"]: quoted}))
                assert is_clean(answer) and answer.status_code == 404, (path, answer.text)


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/jobs", {"kind": "generate", "inputs": [{"prompt": "a"}]}, "model"),
        ("/v1/completions", {"prompt": "a"}, "model"),
        ("/v1/batches", {"endpoint": "/v1/completions", "completion_window": "1h"}, "input_file_id"),
        ("/v1/models", {"name": "other"}, "source"),
        ("/v1/models", {"source": "a/b"}, "name"),
    ],
)
def test_what_cannot_be_a_name_is_refused_by_field(
    site: Site, path: str, body: dict[str, Any], field: str, text: str
) -> None:
    answer = site.client().send("POST", path, json={**body, field: text})

    assert is_clean(answer)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


@pytest.mark.parametrize("value", [*BAD_HEADERS, LONG])
@pytest.mark.parametrize("name", ["Idempotency-Key", "Last-Event-ID", "traceparent", "X-Request-Id", "If-None-Match"])
def test_headers_are_refused_or_let_be(site: Site, caller: Client, name: str, value: bytes) -> None:
    job_id = caller.submit()["id"]
    body = json.dumps({"kind": "generate", "model": MODEL, "inputs": [{"prompt": "a"}]}).encode()
    key = ("Authorization", f"Bearer {caller.secret}")
    if name in ("Last-Event-ID", "If-None-Match"):
        path = f"/v1/jobs/{job_id}" + ("/events" if name == "Last-Event-ID" else "")
        answer = talk(site.url, head("GET", path, key, (name, value)))
    else:
        kind = ("Content-Type", "application/json"), ("Content-Length", str(len(body)))
        answer = talk(site.url, head("POST", "/v1/jobs", key, *kind, (name, value)), body)

    assert status(answer) < 500
    assert b"X-Evil" not in answer
    if name in ("Idempotency-Key", "Last-Event-ID") or value == LONG or b"\x01" in value:
        assert status(answer) in (400, 431), answer
    else:
        assert status(answer) in (200, 202), answer
    if name == "X-Request-Id":
        assert value not in answer


@pytest.mark.parametrize("name", ["Idempotency-Key", "X-Request-Id", "traceparent"])
def test_a_header_cannot_be_continued_on_another_line(site: Site, caller: Client, name: str) -> None:
    answer = talk(site.url, head("GET", "/v1/jobs", (name, b"a\r\n Authorization: Bearer " + caller.secret.encode())))

    assert status(answer) in (400, 401)


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: -1",
        b"Content-Length: +5",
        b"Content-Length: 0x5",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding : chunked",
    ],
)
def test_no_second_request_is_smuggled_in_a_body(site: Site, caller: Client, framing: bytes) -> None:
    """Two readers of one connection must never disagree about where a request ends."""
    key = f"Authorization: Bearer {caller.secret}".encode()
    hidden = b"0\r\n\r\nGET /v1/jobs HTTP/1.1\r\nHost: skim\r\n" + key + b"\r\n\r\n"

    answer = talk(site.url, b"POST /v1/jobs HTTP/1.1\r\nHost: skim\r\n" + framing + b"\r\n\r\n" + hidden)

    assert status(answer) in (400, 401, 501), answer
    assert b'"object":"list"' not in answer
