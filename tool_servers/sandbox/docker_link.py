"""One running container and the pipe into it: bytes on its standard input and output, over the engine's attach call.

The container lives as long as this pipe: when the owner closes it, or dies, the engine ends the container's standard input, the
guest leaves, and the engine removes what is left. Nothing of it lies on the owner's disk.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Self

from aiodocker import Docker, DockerError
from aiodocker.containers import DockerContainer
from aiodocker.stream import Stream
from aiohttp import ClientError

from turnwise.errors import SandboxFailure

__all__ = ["Link"]

_STDERR_KEPT = 2000
_STDOUT = 1
_REMOVAL_S = 30.0


class Link:
    """A container from its start to its end."""

    def __init__(self, container: DockerContainer, stream: Stream) -> None:
        self._container = container
        self._stream = stream
        self._said = b""
        self.reader = asyncio.StreamReader()
        """What the guest writes; at its end when the container is."""
        self._pump = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, docker: Docker, settings: Mapping[str, Any]) -> Self:
        """Create, attach, start. Raises SandboxFailure, with nothing left behind."""
        container = None
        try:
            container = await docker.containers.create(dict(settings))
            stream = container.attach(stdin=True, stdout=True, stderr=True)
            await stream.__aenter__()
            await container.start()
        except (DockerError, ClientError, OSError) as broken:
            if container is not None:
                await _remove(container)
            raise SandboxFailure("docker", f"no container could be started: {broken}", retriable=True) from broken
        return cls(container, stream)

    @property
    def id(self) -> str:
        return self._container.id

    @property
    def alive(self) -> bool:
        return not self._pump.done()

    @property
    def last_words(self) -> str:
        """The end of what the guest wrote to standard error."""
        return self._said.decode(errors="replace").strip()

    async def write(self, data: bytes) -> None:
        """Raises SandboxFailure if the container is gone."""
        try:
            await self._stream.write_in(data)
        except (ClientError, OSError, RuntimeError, AssertionError) as broken:
            raise SandboxFailure("docker", f"container {self.id[:12]} does not listen: {broken}") from broken

    async def _read(self) -> None:
        try:
            while (message := await self._stream.read_out()) is not None:
                if message.stream == _STDOUT:
                    self.reader.feed_data(message.data)
                else:
                    self._said = (self._said + message.data)[-_STDERR_KEPT:]
        except (ClientError, OSError) as broken:
            self._said = (self._said + f"\n{broken}".encode())[-_STDERR_KEPT:]
        finally:
            self.reader.feed_eof()

    async def close(self) -> None:
        """End the container and wait until it is removed. Never raises: a container that is gone already is just that."""
        with contextlib.suppress(ClientError, OSError, AssertionError):
            await self._stream.close()
        await _remove(self._container)
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump


async def _remove(container: DockerContainer) -> None:
    """Kill and remove; if the engine is removing it already, wait for that."""
    with contextlib.suppress(ClientError, OSError):
        try:
            await container.delete(force=True)
        except DockerError as refused:
            if refused.status == 409:
                with contextlib.suppress(DockerError, asyncio.TimeoutError):
                    await container.wait(condition="removed", timeout=_REMOVAL_S)
