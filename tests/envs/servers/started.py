"""Servers of these tests as processes, each on a port that is its own from the beginning."""

import socket
import subprocess
from collections.abc import Generator
from contextlib import contextmanager

import httpx

__all__ = ["started"]


@contextmanager
def started(*command: str, path: str) -> Generator[str]:
    """The address of what `command` serves once it answers at `path`. Its last argument is the number of the socket to listen on,
    which it inherits: nobody else can take the port while it starts, and who connects early waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        process = subprocess.Popen([*command, str(fd)], pass_fds=[fd])
    with process:
        try:
            httpx.get(f"http://127.0.0.1:{port}{path}", timeout=600, trust_env=False)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
