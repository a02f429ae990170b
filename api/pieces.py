"""An uploaded file, piece by piece as it lies in the database."""

from __future__ import annotations

from collections.abc import Iterator

from models.database import Database
from models.files import read_chunk


def pieces(database: Database, file_id: str) -> Iterator[bytes]:
    """Each piece is read in a transaction of its own, so that a slow reader holds no connection."""
    number = 0
    while True:
        with database.session() as session:
            data = read_chunk(session, file_id, number)
        if data is None:
            return
        yield data
        number += 1
