"""Bodies end exactly where they end."""

import io

import pytest

from api import bodies
from api.bodies import BodyStream
from api.errors import Malformed, TooLarge, TooSlow


class Broken(io.BytesIO):
    """A connection that fails after some bytes."""

    def __init__(self, data: bytes, error: Exception) -> None:
        super().__init__(data)
        self._error = error

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise self._error
        return data


@pytest.fixture(autouse=True)
def _no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "is_json", lambda: True)


def read(source: io.BytesIO, length: int | None, limit: int) -> bytes:
    return io.BufferedReader(BodyStream(source, length, limit), 4).read()


@pytest.mark.parametrize("length", [None, 10])
def test_a_body_as_long_as_allowed_is_read(length: int | None) -> None:
    assert read(io.BytesIO(b"0123456789"), length, 10) == b"0123456789"


def test_a_body_of_unknown_length_is_not_cut_but_refused() -> None:
    with pytest.raises(TooLarge):
        read(io.BytesIO(b"0123456789!"), None, 10)


def test_what_follows_the_body_is_not_touched() -> None:
    source = io.BytesIO(b"0123456789NEXT")

    assert read(source, 10, 100) == b"0123456789"
    assert source.read() == b"NEXT"


def test_a_body_that_breaks_off_is_refused() -> None:
    with pytest.raises(Malformed, match="after 4 of 10 bytes"):
        read(io.BytesIO(b"0123"), 10, 100)


def test_a_connection_that_stalls_or_fails_is_told_apart() -> None:
    with pytest.raises(TooSlow):
        read(Broken(b"0123", TimeoutError()), None, 100)
    with pytest.raises(Malformed):
        read(Broken(b"0123", ConnectionResetError()), None, 100)
