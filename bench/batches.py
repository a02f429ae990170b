"""A long batch, step by step: its file is uploaded, checked and copied, and its output read. Decodes nothing.

Between its creation and its end a stand-in for workers ends its items; that is not part of any step.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import text

from bench.asks import Ask, Cost, Service
from bench.bulk import MODEL
from bench.standin import end_all
from models.database import connect

STEPS: Final = {
    "upload": "upload of the file",
    "create": "creation: every line checked and copied",
    "measure": "first look at the output file, which measures it",
    "read": "output file read",
}
PROMPT: Final = "Tell me something about the number {number}. " * 10  # about 400 characters
BOUNDARY: Final = "bench-boundary"
CHUNK: Final = 1 << 16
JOB_OF: Final = text("SELECT job_id FROM batches WHERE id = :id")


def batch(service: Service, num_lines: int) -> dict[str, Cost]:
    """Every step of one batch. Raises RuntimeError if its output has not as many lines."""
    costs: dict[str, Cost] = {}
    form = {**service.headers, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    upload = Ask("POST", "/v1/files", form, b"".join(_form(num_lines)))
    costs["upload"], file = service.cost(lambda: service.send(upload))
    body = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    create = Ask("POST", "/v1/batches", service.headers, json.dumps(body).encode())
    costs["create"], made = service.cost(lambda: service.send(create))
    _end(service, made)
    ended = service.send(Ask("GET", f"/v1/batches/{made['id']}", service.headers))
    place = f"/v1/files/{ended['output_file_id']}"
    costs["measure"], output = service.cost(lambda: service.send(Ask("GET", place, service.headers)))
    costs["read"], found = service.cost(lambda: _read(service, f"{place}/content"))
    if (ended["status"], found) != ("completed", (output["bytes"], num_lines)):
        raise RuntimeError(f"a batch of {num_lines} lines, {ended['status']}: {found} of its output, told {output}")
    return costs


def _form(num_lines: int) -> Iterator[bytes]:
    """A form with a file of requests."""
    field = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    yield f'{field}--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'.encode()
    for number in range(num_lines):
        messages = [{"role": "user", "content": PROMPT.format(number=number)}]
        line: dict[str, Any] = {"custom_id": f"request-{number}", "method": "POST", "url": "/v1/chat/completions"}
        line["body"] = {"model": MODEL, "messages": messages, "max_tokens": 64}
        yield json.dumps(line).encode() + b"\n"
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def _end(service: Service, made: dict[str, Any]) -> None:
    """End all items of the batch's job. Raises RuntimeError if it has none: a line of it was refused."""
    database = connect(service.database_url, application_name="bench-batches")
    with database.session() as session:
        job_id = session.execute(JOB_OF, {"id": made["id"]}).scalar_one()
    if job_id is None:
        raise RuntimeError(str(made["errors"]))
    end_all(database, job_id)
    database.close()


def _read(service: Service, path: str) -> tuple[int, int]:
    """Bytes and lines of a file, as it comes."""
    num_bytes = num_lines = 0
    with service.opened(Ask("GET", path, service.headers)) as answer:
        while chunk := answer.read(CHUNK):
            num_bytes += len(chunk)
            num_lines += chunk.count(b"\n")
    return num_bytes, num_lines
