"""Messages with descriptors between the trusted processes of the guest: JSON on a socket that keeps them apart."""

import json
import os
import socket
from typing import Any

__all__ = ["Broken", "handed_over", "receive", "send", "told"]


class Broken(Exception):
    """The sandbox, not the code in it."""


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


def told(channel: socket.socket, message: dict[str, Any], fds: list[int] | None = None) -> None:
    """`send` to who builds walls. Raises Broken if nobody is there."""
    try:
        send(channel, message, fds)
    except ConnectionError:
        raise Broken("who builds the walls is gone") from None


def handed_over(channel: socket.socket, seconds: float, *expected: str) -> tuple[dict[str, Any], list[int]]:
    """What who builds walls says, until all that is expected has been said, and the descriptors that come along. Raises Broken,
    and ConnectionResetError if there is no zygote to make it."""
    channel.settimeout(seconds)
    said, fds = dict[str, Any](), list[int]()
    while not said.keys() >= set(expected):
        try:
            message, more = receive(channel)
        except EOFError:
            if "init" in expected and "init" not in said:
                raise ConnectionResetError("the zygote is gone") from None
            raise Broken("who builds the walls is gone") from None
        except TimeoutError:
            raise Broken("the walls were not built in time") from None
        if "broken" in message:
            raise Broken(message["broken"])
        said |= message
        fds += more
    return said, fds
