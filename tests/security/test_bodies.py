"""Bodies that are not what they say: refused by name, never a failure of ours, and never much memory."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx
import pytest

from tests.security.conftest import MODEL, Client, Site
from tests.tools.wire import head, status, talk

JSON = "application/json"
LINES = "application/x-ndjson"
HEAD = json.dumps({"kind": "generate", "model": MODEL}).encode()
DEEP = 100_000
NUMBERS = ["1e400", "-1e400", "1" + "0" * 5000, "-1" + "0" * 5000, "NaN", "Infinity", "-Infinity", "0x10", "1_0", "01"]


@pytest.fixture(scope="module")
def caller(site: Site) -> Client:
    return site.client("ten_bodies")


def post(caller: Client, path: str, body: bytes, media_type: str | None = JSON, **headers: str) -> httpx.Response:
    kind = {} if media_type is None else {"Content-Type": media_type}
    return caller.send("POST", path, content=body, headers={**kind, **headers})


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def with_field(name: str, text: str) -> bytes:
    """A good job but for one field, whose value is written as it is."""
    inner, _, last = name.rpartition(".")
    member = f'"{last}": {text}'
    member = f'"{inner}": {{{member}}}' if inner else member
    return f'{{"kind": "generate", "model": "{MODEL}", "inputs": [{{"prompt": "a"}}], {member}}}'.encode()


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/completions", "/v1/chat/completions", "/v1/batches", "/v1/keys"])
@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe{\x00}\x00",
        b'{"model": "\xff"}',
        b'{"model": "\xed\xa0\x80"}',  # a surrogate, as no UTF-8 has it
        b'{"model": "\\ud800"}',
        b'{"model": "\\udc00\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"[" * DEEP,
        b'{"a":' * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"model": "a"',
        b"{} {}",
        b"",
        b"\x00",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_json_is_refused(site: Site, path: str, body: bytes) -> None:
    assert code(post(site.client(), path, body)) == (400, "malformed_body")


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:9])
@pytest.mark.parametrize(
    "name",
    ["parameters.temperature", "parameters.top_p", "parameters.max_tokens", "parameters.seed", "deadline_s",
     "retention_s"],
)  # fmt: skip
def test_numbers_beyond_all_bounds_are_refused(caller: Client, name: str, number: str) -> None:
    answer = post(caller, "/v1/jobs", with_field(name, number))

    assert code(answer) in {(400, "invalid_field"), (400, "malformed_body")}
    if answer.json()["error"]["code"] == "invalid_field":
        assert answer.json()["errors"][0]["field"] == name


@pytest.mark.parametrize("number", [number for number in NUMBERS if not number.startswith("0")])
def test_numbers_where_anything_goes_are_no_failure(caller: Client, number: str) -> None:
    body = f'{{"model": "{MODEL}", "prompt": "a", "metadata": {{"a": {number}}}}}'

    assert post(caller, "/v1/completions", body.encode()).status_code in (200, 400)


def test_of_a_key_given_twice_the_last_counts_everywhere(site: Site, caller: Client) -> None:
    """What is checked is what is stored."""
    twice = with_field("model", '"nobody"'), with_field("priority", '"bulk", "priority": "interactive"')

    unknown, job = (post(caller, "/v1/jobs", body) for body in twice)

    assert code(unknown) == (404, "model_not_found")
    assert job.json()["priority"] == "interactive"
    assert site.rows("SELECT lane FROM jobs WHERE id = :id", id=job.json()["id"])[0].lane == "interactive"


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/completions", "/v1/keys", "/v1/batches"])
def test_another_content_type_is_refused(site: Site, path: str, media_type: str | None) -> None:
    assert code(post(site.client(), path, b"{}", media_type)) == (415, "unsupported_media_type")


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "utf-7"])
def test_another_encoding_than_utf_8_is_not_guessed(caller: Client, charset: str) -> None:
    body = json.dumps({"kind": "generate", "model": MODEL, "inputs": [{"prompt": "é"}]}, ensure_ascii=False)
    text = body.encode(charset if charset != "utf-7" else "latin-1")

    assert code(post(caller, "/v1/jobs", text, f"{JSON}; charset={charset}")) == (400, "malformed_body")


@pytest.mark.parametrize("media_type", [JSON, LINES])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
def test_a_compressed_body_is_not_unpacked(caller: Client, media_type: str, encoding: str) -> None:
    """A few kilobytes that would be hundreds of megabytes."""
    bomb = gzip.compress(bytes(200 * 2**20))

    answer = post(caller, "/v1/jobs", bomb, media_type, **{"Content-Encoding": encoding})

    assert code(answer) == (400, "malformed_body")


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ([HEAD, b'{"prompt": "a"}', b'{"prompt": "\xff"}'], 3),
        ([HEAD, b'{"prompt": "\\ud800"}'], 2),
        ([HEAD, b'{"prompt": "a", "x":' + b"[" * DEEP], 2),
        ([HEAD, b'{"prompt": "a"}', b"[" * DEEP, b'{"prompt": "b"}'], 3),
        ([b"\xff", b'{"prompt": "a"}'], 1),
        ([HEAD, b'{"prompt": 1e400}'], 2),
    ],
)
def test_in_the_middle_of_json_lines_the_line_is_named(caller: Client, lines: list[bytes], line: int) -> None:
    before = len(caller.made("GET", "/v1/jobs")["data"])

    answer = post(caller, "/v1/jobs", b"\n".join(lines), LINES)

    assert (answer.status_code, answer.json()["errors"][0]["line"]) == (400, line)
    assert len(caller.made("GET", "/v1/jobs")["data"]) == before


@pytest.mark.parametrize(("rest", "wanted"), [(b"\xa9 is whole", 202), (b" is not", 400)])
def test_a_character_may_be_cut_by_a_chunk_and_by_nothing_else(
    site: Site, caller: Client, rest: bytes, wanted: int
) -> None:
    parts = [HEAD + b'\n{"prompt": "\xc3', rest + b'"}\n']
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    headers: list[tuple[str, str | bytes]] = [("Transfer-Encoding", "chunked"), ("Content-Type", LINES)]

    answer = talk(site.url, head("POST", "/v1/jobs", ("Authorization", f"Bearer {caller.secret}"), *headers), chunks)

    assert status(answer) == wanted, answer


BOUNDARY = "----b"


def form(*parts: tuple[bytes, bytes]) -> bytes:
    """Parts by what stands behind `form-data; `, as they are."""
    mark = b"--" + BOUNDARY.encode()
    told = [mark + b"\r\nContent-Disposition: form-data; " + name + b"\r\n\r\n" + data for name, data in parts]
    return b"\r\n".join([*told, mark + b"--\r\n"])


PURPOSE = (b'name="purpose"', b"user_data")
FILE = (b'name="file"; filename="a.txt"', b"a")


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ([(b'name="purpose"', b"\xff"), FILE], "purpose"),
        ([(b'name="purpose"', b"'; DROP TABLE files; --"), FILE], "purpose"),
        ([(b'name="\xff"', b"a"), PURPOSE, FILE], None),
        ([PURPOSE, FILE, FILE], "file"),
        ([PURPOSE], "file"),
        ([PURPOSE, (b'name="file"', b"a")], "file"),
        ([PURPOSE, FILE, (b'name="expires_after"', b"a"), (b'name="expires_after[seconds]"', b"9")], "expires_after"),
        ([PURPOSE, FILE, (b'name="expires_after[seconds]"', b"9" * 5000)], "expires_after"),
        ([PURPOSE, FILE, (b'name="expires_after[a][b]"', b"9")], "expires_after"),
        ([PURPOSE, FILE, *[(b'name="x"', b"a")] * 50], None),
        ([PURPOSE, FILE, (b'x="a"', b"a")], None),
        ([PURPOSE, FILE, (b'name="a\\"', b"a")], None),
    ],
)
def test_a_form_that_is_none_is_refused(caller: Client, parts: Any, field: str | None) -> None:
    answer = post(caller, "/v1/files", form(*parts), f"multipart/form-data; boundary={BOUNDARY}")

    assert answer.status_code in (400, 413), answer.text
    if field is not None:
        assert answer.json()["errors"][0]["field"].startswith(field)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        (b"../../../etc/passwd", "passwd"),
        (b"..\\..\\boot.ini", "boot.ini"),
        (b"/etc/shadow", "shadow"),
        (b"..", "file"),
        (b"a/..", "file"),
        (b"a\x00b.txt", "a_b.txt"),
        (b"a\x01\x1b[31m.txt", "a__[31m.txt"),
        ("\u202egpj.exe".encode(), "_gpj.exe"),
        ("\u540d\u524d \U0001f600.txt".encode(), "\u540d\u524d \U0001f600.txt"),
        (b"n" * 5000, "n" * 255),
        (b"a;b=c, d.txt", "a;b=c, d.txt"),
        (b"CON", "CON"),
    ],
)
def test_a_file_name_is_a_name_wherever_it_comes_back(caller: Client, name: bytes, stored: str) -> None:
    body = form(PURPOSE, (b'name="file"; filename="' + name.replace(b"\\", b"\\\\") + b'"', b"content"))

    answer = post(caller, "/v1/files", body, f"multipart/form-data; boundary={BOUNDARY}")
    content = caller.send("GET", f"/v1/files/{answer.json()['id']}/content")

    assert (answer.status_code, answer.json()["filename"]) == (200, stored)
    assert content.content == b"content"
    disposition = content.headers.get_list("content-disposition")
    assert len(disposition) == 1 and disposition[0].startswith("attachment; filename")
    assert disposition[0].isascii() and disposition[0].isprintable() and "/" not in disposition[0]
    assert content.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", [b'a"\r\nX-Evil: 1\r\nb="', b"a\r\n\r\n<html>", b'a"; filename="b', b"\xff\xfe.txt"])
def test_a_file_name_writes_no_header(caller: Client, name: bytes) -> None:
    body = form(PURPOSE, (b'name="file"; filename="' + name + b'"', b"content"))

    answer = post(caller, "/v1/files", body, f"multipart/form-data; boundary={BOUNDARY}")

    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        content = caller.send("GET", f"/v1/files/{answer.json()['id']}/content")
        assert content.status_code == 200
        assert "x-evil" not in content.headers
