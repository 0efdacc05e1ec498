"""Messages with descriptors between the trusted processes of the guest: JSON on a socket that keeps them apart."""

import json
import os
import socket
from typing import Any

__all__ = ["receive", "send"]


def send(channel: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    socket.send_fds(channel, [json.dumps(message).encode()], fds or [])


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Raises EOFError when the other side is gone."""
    data, fds, _, _ = socket.recv_fds(channel, 1 << 16, 16)
    if not data:
        raise EOFError
    for fd in fds:
        os.set_inheritable(fd, False)
    return json.loads(data), list(fds)
