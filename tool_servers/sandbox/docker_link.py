"""One running container and the pipe into it: its standard input and output as a transport, over the engine's attach call.

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

__all__ = ["Pipe"]

_STDERR_KEPT = 2000
_STDOUT = 1
_REMOVAL_S = 30.0
_BROKEN = (DockerError, ClientError, OSError)


class Pipe(asyncio.Transport):
    """A container from its start to its end."""

    def __init__(self, container: DockerContainer, stream: Stream, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._container, self._stream, self._protocol = container, stream, protocol
        self._said = b""
        self._unsent: asyncio.Queue[bytes] = asyncio.Queue()
        self._closing: asyncio.Task[None] | None = None
        protocol.connection_made(self)
        self._reader = asyncio.create_task(self._read())
        self._writer = asyncio.create_task(self._write())

    @classmethod
    async def start(cls, docker: Docker, settings: Mapping[str, Any], protocol: asyncio.BaseProtocol) -> Self:
        """Create, attach, start. Raises SandboxFailure, with nothing left behind."""
        container = None
        try:
            container = await docker.containers.create(dict(settings))
            stream = container.attach(stdin=True, stdout=True, stderr=True)
            await stream.__aenter__()
            await container.start()
        except BaseException as broken:
            if container is not None:
                await _remove(container)
            if isinstance(broken, _BROKEN):
                raise SandboxFailure("docker", f"no container could be started: {broken}", retriable=True) from broken
            raise
        return cls(container, stream, protocol)

    @classmethod
    async def reading(cls, docker: Docker, settings: Mapping[str, Any]) -> tuple[Self, asyncio.StreamReader]:
        """The same, and a reader of what the container writes."""
        reader = asyncio.StreamReader()
        return await cls.start(docker, settings, asyncio.StreamReaderProtocol(reader)), reader

    @property
    def id(self) -> str:
        return self._container.id

    @property
    def last_words(self) -> str:
        """The end of what the container wrote to standard error."""
        return self._said.decode(errors="replace").strip()

    # --- a transport --------------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._unsent.put_nowait(bytes(data))

    def is_closing(self) -> bool:
        return self._reader.done()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def pause_reading(self) -> None:
        """The engine and the guest wait by themselves when nobody reads on; a reader of ours always does."""

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        """End the container, without waiting for it."""
        self._closing = self._closing or asyncio.create_task(self._end())

    async def end(self) -> None:
        """End the container and wait until it is removed. Never raises: a container that is gone already is just that."""
        self.close()
        assert self._closing is not None
        await asyncio.shield(self._closing)

    # --- work ---------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        lost: Exception | None = None
        try:
            while (message := await self._stream.read_out()) is not None:
                if message.stream == _STDOUT:
                    assert isinstance(self._protocol, asyncio.Protocol)
                    self._protocol.data_received(message.data)
                else:
                    self._said = (self._said + message.data)[-_STDERR_KEPT:]
        except _BROKEN as broken:
            lost = broken
        finally:
            self._protocol.connection_lost(lost)

    async def _write(self) -> None:
        with contextlib.suppress(*_BROKEN, RuntimeError, AssertionError):  # the reader sees the end as well, and tells it
            while True:
                await self._stream.write_in(await self._unsent.get())

    async def _end(self) -> None:
        with contextlib.suppress(*_BROKEN, AssertionError):
            await self._stream.close()
        await _remove(self._container)
        for task in (self._reader, self._writer):
            task.cancel()
        await asyncio.gather(self._reader, self._writer, return_exceptions=True)


async def _remove(container: DockerContainer) -> None:
    """Kill and remove; if the engine is removing it already, wait for that."""
    with contextlib.suppress(*_BROKEN, TimeoutError):
        try:
            await container.delete(force=True)
        except DockerError as refused:
            if refused.status == 409:
                await container.wait(condition="removed", timeout=_REMOVAL_S)
