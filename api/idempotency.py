"""`Idempotency-Key`: the header, and the fingerprint that tells a repeated request from another one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from flask import request

from api.errors import InvalidFields

HEADER: Final = "Idempotency-Key"
KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


def key_of_request() -> str | None:
    """The header's value; raises InvalidFields unless it is 1 to 255 printable ASCII characters."""
    key = request.headers.get(HEADER)
    if key is not None and not KEY.fullmatch(key):
        raise InvalidFields.of(HEADER, "must be 1 to 255 printable ASCII characters without spaces")
    return key


def fingerprint(body: Iterable[bytes] = ()) -> str:
    """SHA-256 of method, path and body: what has to be equal for a repetition."""
    digest = hashlib.sha256(f"{request.method} {request.path}\n".encode())
    for part in body:
        digest.update(part)
    return digest.hexdigest()
