"""`Idempotency-Key`: the header, and the fingerprint that tells a repeated request from another one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from flask import request
from sqlalchemy.orm import Session

from api.errors import InvalidFields
from models.idempotency import take
from models.ids import new_id

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"  # on answers to a repetition
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


def is_first(session: Session, tenant_id: str, body: Iterable[bytes] = ()) -> bool:
    """Whether this request has to be carried out: it has no key, or nobody came with the key before.

    Holds once the session commits. Raises models.errors.IdempotencyMismatch when the key came with another request.
    """
    key = key_of_request()
    if key is None:
        return True
    target_id = new_id("req")
    return take(session, tenant_id, key, fingerprint(body), target_id) == target_id
