"""MessagePack, read only: enough of the format for a dump of numbers, strings, arrays and maps (msgpack.org, spec of 2017)."""

from __future__ import annotations

import struct
from typing import Any

__all__ = ["unpacked"]

_NUMBERS = {
    **{0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"},
    **{0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"},
}
_SIZES = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I", 0xDC: ">H", 0xDD: ">I", 0xDE: ">H", 0xDF: ">I"}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_BYTES, _TEXTS, _ARRAYS = (0xC4, 0xC5, 0xC6), (0xD9, 0xDA, 0xDB), (0xDC, 0xDD)


def unpacked(data: bytes) -> Any:
    """The one object in `data`. Raises ValueError for anything else, and for extension types."""
    try:
        value, end = _read(data, 0)
    except (struct.error, IndexError, RecursionError) as error:
        raise ValueError("not a whole MessagePack object") from error
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes after the end of the object")
    return value


def _read(data: bytes, at: int) -> tuple[Any, int]:
    tag, at = data[at], at + 1
    if tag < 0x80:
        return tag, at
    if tag >= 0xE0:
        return tag - 0x100, at
    if tag in _CONSTANTS:
        return _CONSTANTS[tag], at
    if tag in _NUMBERS:
        return struct.unpack_from(_NUMBERS[tag], data, at)[0], at + struct.calcsize(_NUMBERS[tag])
    if tag < 0xC0:
        size = tag & (0x1F if tag >= 0xA0 else 0x0F)
        kind = "text" if tag >= 0xA0 else "array" if tag >= 0x90 else "map"
    elif tag in _SIZES:
        size, at = struct.unpack_from(_SIZES[tag], data, at)[0], at + struct.calcsize(_SIZES[tag])
        kind = "bytes" if tag in _BYTES else "text" if tag in _TEXTS else "array" if tag in _ARRAYS else "map"
    else:
        raise ValueError(f"type {tag:#x} is not read here")
    return _many(data, at, size, kind)


def _many(data: bytes, at: int, size: int, kind: str) -> tuple[Any, int]:
    if kind in ("bytes", "text"):
        raw = data[at : at + size]
        if len(raw) < size:
            raise ValueError("a string is cut off")
        return raw if kind == "bytes" else raw.decode("utf-8"), at + size
    items: list[Any] = []
    for _ in range(size if kind == "array" else 2 * size):
        item, at = _read(data, at)
        items.append(item)
    return items if kind == "array" else dict(zip(items[::2], items[1::2], strict=True)), at
