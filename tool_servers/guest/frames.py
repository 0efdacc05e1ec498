"""Frames on a byte stream: a JSON object and, after it, raw bytes.

4 bytes length of the JSON | 4 bytes length of the raw bytes | JSON | raw bytes         (lengths big-endian)
"""

import json
import struct
from collections.abc import Iterator
from typing import Any

__all__ = ["FrameError", "Frames", "packed"]

_HEAD = struct.Struct("!II")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


class FrameError(ValueError):
    """What arrived is no frame, or a longer one than allowed."""


def packed(message: dict[str, Any], raw: bytes = b"") -> bytes:
    """One frame. Raises TypeError or ValueError for what is not JSON."""
    text = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    return _HEAD.pack(len(text), len(raw)) + text + raw


class Frames:
    """Frames out of chunks of bytes, however they are cut."""

    def __init__(self, most: int = 1 << 30) -> None:
        """`most`: bytes of the longest frame that is accepted."""
        self._most, self._buffer = most, bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[tuple[dict[str, Any], bytes]]:
        """The frames that are complete now. Raises FrameError, after which the stream is of no use."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _HEAD.size:
            text, raw = _HEAD.unpack_from(buffer)
            end = _HEAD.size + text + raw
            if end > self._most:
                raise FrameError(f"a frame of {end} bytes, at most {self._most} are allowed")
            if len(buffer) < end:
                return
            start = _HEAD.size + text
            try:
                message = _DECODER.decode(buffer[_HEAD.size : start].decode())
            except (ValueError, RecursionError) as error:
                raise FrameError(f"not JSON: {error}") from None
            if not isinstance(message, dict):
                raise FrameError(f"not a JSON object: {type(message).__name__}")
            rest = bytes(buffer[start:end])
            del buffer[:end]
            yield message, rest
