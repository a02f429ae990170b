"""Frames: a 4-byte big-endian length, then that many bytes of one JSON object in UTF-8."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from workers.errors import FrameError

MAX_BYTES = 64 * 2**20
HEADER = 4

Frame = dict[str, Any]


def pack(message: Mapping[str, Any]) -> bytes:
    """The bytes of one frame.

    Raises:
        FrameError: the object is larger than 64 MiB.
    """
    body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    if len(body) > MAX_BYTES:
        raise FrameError(f"a frame of {len(body)} bytes exceeds {MAX_BYTES}")
    return len(body).to_bytes(HEADER, "big") + body


class Buffer:
    """Bytes as they arrive in, whole frames out."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Add `chunk` and yield every frame that is now complete.

        Raises:
            FrameError: a length beyond 64 MiB or a body that is no JSON object; the stream is unusable from then on.
        """
        self._bytes += chunk
        while len(self._bytes) >= HEADER:
            length = int.from_bytes(self._bytes[:HEADER], "big")
            if length > MAX_BYTES:
                raise FrameError(f"a frame of {length} bytes exceeds {MAX_BYTES}")
            if len(self._bytes) < HEADER + length:
                return
            body = bytes(self._bytes[HEADER : HEADER + length])
            del self._bytes[: HEADER + length]
            yield _parse(body)


def _parse(body: bytes) -> Frame:
    try:
        frame = json.loads(body)
    except ValueError as error:
        raise FrameError("a frame is no JSON") from error
    if not isinstance(frame, dict):
        raise FrameError("a frame is no JSON object")
    return frame
