"""An uploaded file, piece by piece as it lies in the database."""

from __future__ import annotations

from collections.abc import Iterator

from models.database import Database
from models.errors import FileNotFound
from models.files import FileView, read_chunk


def pieces(database: Database, file: FileView) -> Iterator[bytes]:
    """Each piece is read in a transaction of its own, so that a slow reader holds no connection.

    Raises FileNotFound where one is missing: the file was erased meanwhile, and what has come is not all of it.
    """
    number = num_read = 0
    while num_read < (file.num_bytes or 0):
        with database.session() as session:
            data = read_chunk(session, file.id, number)
        if data is None:
            raise FileNotFound(file.id)
        yield data
        number += 1
        num_read += len(data)
