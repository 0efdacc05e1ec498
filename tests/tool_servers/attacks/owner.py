"""A server with live sessions, to be killed: `python owner.py BACKEND COUNT`; says "ready" when all are open, then works.

`python owner.py serve 0` is a tool server that says its address, and `python owner.py http://HOST:PORT COUNT` a client of it.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractAsyncContextManager

from tests.tool_servers.attacks.backends import BACKENDS
from turnwise.tool_servers.admission import Capacity
from turnwise.tool_servers.app import Door
from turnwise.tool_servers.kinds import KINDS, opened
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Sandbox, Session, SessionSpec
from turnwise.tool_servers.sandbox.remote import RemoteSandbox
from turnwise.tool_servers.serve import Listen, served

__all__ = ["STUBBORN"]

STUBBORN = r"""
import ctypes, os, signal, time
libc = ctypes.CDLL(None)
for n in range(1, 65):
    try: signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError): pass
libc.prctl(1, 0, 0, 0, 0)
try: child = os.fork()
except OSError: child = 1
if child == 0:
    try: os.setsid()
    except OSError: pass
    libc.prctl(1, 0, 0, 0, 0)
    if os.fork(): os._exit(0)
    libc.prctl(1, 0, 0, 0, 0); os.closerange(0, 64)
    while True: time.sleep(60)
try: open('/tmp/file', 'wb').write(bytes(100_000)); open('file', 'wb').write(bytes(100_000))
except OSError: pass
"""
"""What a session does that wants to outlive everybody: a daemon, no signal of a parent's death, files."""
PARALLEL = 8


async def open_all(sandbox: Sandbox, count: int) -> list[Session]:
    room = asyncio.Semaphore(PARALLEL)

    async def one(number: int) -> Session:
        async with room:
            session = await sandbox.open(SessionSpec(f"k{number}", limits=Limits(processes=8, memory_mb=64)))
            if number % 4 == 0:
                await session.call(1, "python", {"code": STUBBORN})
            return session

    return await asyncio.gather(*(one(n) for n in range(count)))


async def work(session: Session, number: int) -> None:
    seq = 1 if number % 4 == 0 else 0
    while True:
        seq += 1
        await session.call(seq, "python", {"code": "import time; time.sleep(0.05)\nx = [i for i in range(1000)]"})


async def serve() -> None:
    async with (
        opened(KINDS["python"], profiles=["python"], options={"ready": 0}) as service,
        served(service, Listen(), Door(token="attack"), Capacity(memory_mb=10**6), mcp=False) as address,
    ):
        print(address, flush=True)
        await asyncio.sleep(10**6)


def sandbox_of(name: str) -> AbstractAsyncContextManager[Sandbox]:
    return RemoteSandbox([name], token="attack") if name.startswith("http://") else BACKENDS[name].open()


async def main(name: str, count: int) -> None:
    if name == "serve":
        await serve()
    async with sandbox_of(name) as sandbox:
        sessions = await open_all(sandbox, count)
        print("ready", flush=True)
        await asyncio.gather(*(work(s, n) for n, s in enumerate(sessions)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
