"""What a process wrote during one call: the beginning and the end kept, the middle counted."""

__all__ = ["Capture"]


class Capture:
    """Takes bytes without end, keeps a bounded number."""

    def __init__(self, keep: int) -> None:
        """`keep`: bytes, half of them the first ones, half the last."""
        self._half = max(1, keep // 2)
        self._head, self._tail = bytearray(), bytearray()
        self.total = 0

    def feed(self, data: bytes) -> None:
        self.total += len(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail += data
            if len(self._tail) > 4 * self._half:
                del self._tail[: -self._half]

    @property
    def cut(self) -> int:
        """Bytes that are not kept."""
        return self.total - len(self._head) - min(len(self._tail), self._half)

    def text(self) -> str:
        """Bytes that are no UTF-8 replaced; one line says what was cut out."""
        tail = self._tail[-self._half :]
        if not self.cut:
            return (self._head + tail).decode(errors="replace")
        return f"{self._head.decode(errors='replace')}\n[... {self.cut} bytes cut out ...]\n{tail.decode(errors='replace')}"
