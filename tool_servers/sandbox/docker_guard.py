"""`python -I docker_guard.py URL OWNER`: a small process beside a docker sandbox that outlives it by a moment.

Containers end by themselves when their owner does. One that was made and not yet started in that moment has nothing in it that
could; this process sees its standard input end with the owner, removes what bears the owner's label, and goes.
"""

import asyncio
import importlib
import subprocess
import sys
import time
from types import ModuleType

__all__ = ["guard"]

_QUIET_S = 2.0
"""A request that was under way may still make a container."""


def guard(url: str | None, owner: object) -> "subprocess.Popen[bytes]":
    """Start it. It watches for the end of its standard input; an owner that has closed everything kills it."""
    command = [sys.executable, "-I", __file__, url or "", str(owner)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True)


async def _clean(engine: ModuleType, url: str, owner: str) -> None:
    docker, _ = await engine.connect(url or None)
    async with docker:
        end = time.monotonic() + _QUIET_S
        while time.monotonic() < end:
            if await engine.remove_all(docker, owner):
                end = time.monotonic() + _QUIET_S
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    # Not at the top, for the owner has no use for it; and before the end, when the engine needs the processor for the containers.
    _ENGINE = importlib.import_module("turnwise.tool_servers.sandbox.docker_engine")
    sys.stdin.buffer.read()
    asyncio.run(_clean(_ENGINE, sys.argv[1], sys.argv[2]))
