"""Files through the official client: up and down in constant memory, by page, and for their owner alone."""

from __future__ import annotations

import hashlib
import io
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from openai import BadRequestError, NotFoundError, OpenAI, UnprocessableEntityError

from tests.acceptance.openai.conftest import MAX_MIB, start_api
from tests.acceptance.workers.service import Service, until

MIB = 2**20
MAX = MAX_MIB * MIB


def test_a_file_from_upload_to_end(client: OpenAI) -> None:
    data = b"\x00\xffany bytes\n" * 1000
    expires_after = {"anchor": "created_at", "seconds": 7200}

    made = client.files.create(file=("notes \u00e4.bin", data), purpose="user_data", expires_after=expires_after)  # type: ignore[arg-type]
    read = client.files.retrieve(made.id)
    content = client.files.content(made.id)
    deleted = client.files.delete(made.id)

    assert (made.object, made.bytes, made.filename, made.purpose) == (
        "file",
        len(data),
        "notes \u00e4.bin",
        "user_data",
    )
    assert made.expires_at == made.created_at + 7200
    assert read == made
    assert content.content == data
    assert content.response.headers["Content-Length"] == str(len(data))
    assert content.response.headers["Content-Disposition"].startswith("attachment; filename")
    assert deleted.deleted
    for gone in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(NotFoundError, match="no such file"):
            gone(made.id)


def test_files_are_kept_for_thirty_days(client: OpenAI) -> None:
    made = client.files.create(file=b"x", purpose="batch")

    assert made.expires_at == made.created_at + 30 * 24 * 3600


def test_pages_follow_each_other(client: OpenAI) -> None:
    ids = [client.files.create(file=(f"{number}.txt", b"x"), purpose="user_data").id for number in range(5)]

    newest = [file.id for file in client.files.list(limit=2, purpose="user_data")]
    oldest = [file.id for file in client.files.list(limit=2, purpose="user_data", order="asc")]

    assert newest == list(reversed(oldest))
    assert newest[:5] == list(reversed(ids))
    assert client.files.list(purpose="vision").data == []


def test_a_file_belongs_to_its_tenant(client: OpenAI, stranger: OpenAI) -> None:
    made = client.files.create(file=b"x", purpose="user_data")

    assert stranger.files.list().data == []
    for refused in (stranger.files.retrieve, stranger.files.content, stranger.files.delete):
        with pytest.raises(NotFoundError):
            refused(made.id)
    assert client.files.content(made.id).content == b"x"


def test_a_repeated_upload_is_one_file(client: OpenAI) -> None:
    once = {"Idempotency-Key": "upload"}

    first, second = (client.files.create(file=b"x", purpose="batch", extra_headers=once) for _ in range(2))

    assert first == second
    with pytest.raises(UnprocessableEntityError):
        client.files.create(file=b"y", purpose="batch", extra_headers=once)


def test_an_expired_file_is_gone(client: OpenAI, world: Service) -> None:
    made = client.files.create(file=b"x", purpose="user_data")

    world.rows("UPDATE files SET expires_at = now() - interval '1 second' WHERE id = :id RETURNING id", id=made.id)

    with pytest.raises(NotFoundError):
        client.files.retrieve(made.id)
    until(lambda: not world.rows("SELECT 1 FROM file_chunks WHERE file_id = :id", id=made.id), patience_s=10)


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"purpose": "fine-tune"}, "purpose"),
        ({}, "purpose"),
        ({"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "5"},
         "expires_after.seconds"),
        ({"purpose": "batch", "expires_after[anchor]": "now", "expires_after[seconds]": "7200"},
         "expires_after.anchor"),
        ({"purpose": "batch", "colour": "red"}, "colour"),
    ],
)  # fmt: skip
def test_a_bad_form_is_refused_by_field(address: str, secret: str, form: dict[str, str], param: str) -> None:
    answer = httpx.post(f"{address}/v1/files", data=form, files={"file": b"x"}, headers=_bearer(secret))

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_no_file_an_empty_one_and_no_form_are_refused(client: OpenAI, address: str, secret: str) -> None:
    with pytest.raises(BadRequestError, match="empty"):
        client.files.create(file=b"", purpose="batch")
    form = {"purpose": (None, b"batch")}
    missing = httpx.post(f"{address}/v1/files", files=form, headers=_bearer(secret))
    other = httpx.post(f"{address}/v1/files", json={"purpose": "batch"}, headers=_bearer(secret))

    assert (missing.status_code, missing.json()["error"]["param"]) == (400, "file")
    assert other.status_code == 415


def test_an_upload_that_breaks_off_is_no_file(address: str, secret: str, client: OpenAI) -> None:
    before = client.files.list().data
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nhalf of it'
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {secret}\r\nContent-Length: {len(part) + 99}\r\n"
    )
    host, _, port = address.removeprefix("http://").partition(":")

    with socket.create_connection((host, int(port)), timeout=30) as raw:
        raw.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + part)
        raw.shutdown(socket.SHUT_WR)
        answer = raw.recv(65536)

    assert answer.startswith(b"HTTP/1.1 400")
    assert client.files.list().data == before


class Long(io.RawIOBase):
    """A file of so many bytes that is nowhere in memory."""

    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        taken = self._left if size < 0 else min(size, self._left)
        self._left -= taken
        return b"y" * taken


class Memory:
    """What a process holds of it, as the kernel notes it: the most at once since it was last asked, in bytes."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def take_peak(self) -> int:
        """The most that there was, and of now on anew (proc(5), `clear_refs` and `VmHWM`)."""
        lines = dict(line.split(":", 1) for line in (self._folder / "status").read_text().splitlines())
        (self._folder / "clear_refs").write_text("5")
        return int(lines["VmHWM"].split()[0]) * 1024


def test_a_long_file_goes_up_and_down_in_constant_memory(world: Service, secret: str) -> None:
    """As long as allowed, a byte too long, and all the way back, by an API that has done the same with a short one."""
    address = start_api(world, SKIM_MAX_STREAM_MB=str(MAX_MIB))
    memory = Memory(psutil.Process(world.processes[-1].pid).children()[0].pid)
    with httpx.Client(base_url=f"{address}/v1", headers=_bearer(secret), timeout=120) as client:
        _download(client, _upload(client, MIB).json()["id"])
        before = memory.take_peak()

        made = _upload(client, MAX)
        going_up = memory.take_peak()
        digest = _download(client, made.json()["id"])
        coming_down = memory.take_peak()
        over = _upload(client, MAX + 1)
        refused = memory.take_peak()
        client.delete(f"/files/{made.json()['id']}")

    assert (made.status_code, made.json()["bytes"]) == (200, MAX)
    assert digest == hashlib.sha256(b"y" * MAX).hexdigest()
    assert (over.status_code, over.json()["error"]["code"]) == (413, "body_too_large")
    assert max(going_up, coming_down, refused) - before < MAX / 4


def _upload(client: httpx.Client, size: int) -> httpx.Response:
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    return client.post("/files", content=_form(size), headers=kind)


def _download(client: httpx.Client, file_id: str) -> str:
    """The digest of a file's content."""
    digest = hashlib.sha256()
    with client.stream("GET", f"/files/{file_id}/content") as answer:
        for chunk in answer.iter_bytes(MIB):
            digest.update(chunk)
    return digest.hexdigest()


def _form(size: int) -> Iterator[bytes]:
    yield b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="long"\r\n\r\n'
    source = Long(size)
    while chunk := source.read(MIB):
        yield chunk
    yield b"\r\n--b--\r\n"


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}
