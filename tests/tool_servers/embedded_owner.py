"""A program that owns sessions: `python embedded_owner.py LEVEL SESSIONS [canaries]`. Says "ready" and waits to be killed.

With `canaries` it instead prints, as JSON, what sessions at that level do, and ends.
"""

import asyncio
import json
import sys
from typing import Any

from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Level, SessionSpec

DAEMON = "import os, time\nif not os.fork():\n    os.setsid()\n    if not os.fork():\n        time.sleep(1000)\n    os._exit(0)"

HOGS = """
import os, time
for _ in range(4):
    if not os.fork():
        x = bytearray(60 << 20)
        time.sleep(100)
time.sleep(15)
"""
BOMB = """
import os
made = 0
try:
    for _ in range(100):
        if not os.fork(): os.execv('/bin/sleep', ['sleep', '100'])
        made += 1
except OSError: pass
made
"""


async def own(level: Level, count: int) -> None:
    async with EmbeddedSandbox(needs=level, level=level, ready=0) as sandbox:
        sessions = await asyncio.gather(*(sandbox.open(SessionSpec(f"s{i}", lease_s=1000)) for i in range(count)))
        for session in sessions[: count // 4]:
            await session.call(1, "python", {"code": DAEMON})
        busy = [asyncio.create_task(s.call(2, "python", {"code": "while True: pass"})) for s in sessions[: min(4, count // 4)]]
        print("ready", flush=True)
        await asyncio.sleep(1000)
        await asyncio.gather(*busy)


async def canaries(level: Level) -> dict[str, Any]:
    limits = Limits(memory_mb=128, processes=12, wall_s=20)
    async with EmbeddedSandbox(needs=level, level=level, ready=0) as sandbox:
        session = await sandbox.open(SessionSpec("a", limits=limits))
        said: dict[str, Any] = {"level": sandbox.level.name}
        for i, (name, code) in enumerate(
            {
                "ids": "import os; (os.getuid(), os.geteuid(), os.getgid())",
                "write": "open('kept', 'w').write('x')",
                "loop": "while True: pass",
                "after": "open('kept').read()",
                "hogs": HOGS,
                "bomb": BOMB,
            }.items(),
            1,
        ):
            result = await session.call(i, "python", {"code": code}, wall_s=0.3 if name == "loop" else None)
            said[name] = [result.status, result.value, result.err, result.restarted]
        await session.close()
        if level is Level.NAMESPACES:
            second = await sandbox.open(SessionSpec("b"))
            await second.call(1, "python", {"code": "x = 1"})
            (twin,) = await second.fork(["c"])
            said["fork"] = (await twin.call(2, "python", {"code": "x + 1"})).value
    return said


def main(level: Level, count: int, want_canaries: bool) -> None:
    if want_canaries:
        print(json.dumps(asyncio.run(canaries(level))))
    else:
        asyncio.run(own(level, count))


if __name__ == "__main__":
    main(Level[sys.argv[1]], int(sys.argv[2]), sys.argv[3:] == ["canaries"])
