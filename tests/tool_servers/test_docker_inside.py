"""The embedded sandbox inside a default Docker container: a weaker level, said in one line, and no wall that is not there."""

import asyncio
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiodocker import Docker, DockerError

from turnwise.tool_servers.sandbox import docker_image
from turnwise.tool_servers.sandbox.docker_image import Recipe

BASE = "turnwise-base:latest"
ROOT = Path(__file__).resolve().parents[2]
SITE = Path(aiohttp.__file__).resolve().parents[1]
PROGRAM = """
import asyncio, json, logging, os, site, sys
site.addsitedir("/site")
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.levels import reach
from turnwise.tool_servers.sandbox.protocol import Level, SessionSpec

CELLS = {
    "arithmetic": "1 + 1",
    "own file": "open('x', 'w').write('abc'), open('x').read()",
    "other file": "open('/secret').read()",
    "socket": "import socket; socket.socket()",
    "server's environment": "open(f'/proc/%d/environ').read()" % os.getpid(),
    "server": "import os; os.kill(%d, 0)" % os.getpid(),
    "namespace": "import ctypes; assert ctypes.CDLL(None).unshare(0x10000000) == 0",
}

async def main():
    before = set(os.listdir("/tmp"))  # the checkout may lie there
    level, notice = await reach(Level.LANDLOCK)
    async with EmbeddedSandbox(needs=Level.LANDLOCK) as made:
        session = await made.open(SessionSpec("inside"))
        got = {}
        for seq, (name, code) in enumerate(CELLS.items(), 1):
            got[name] = (await session.call(seq, "python", {"code": code})).status
        endless = await session.call(len(CELLS) + 1, "python", {"code": "while True: pass"}, wall_s=0.2)
        await session.close()
    print(json.dumps({"level": made.level.name, "found": level.name, "notice": notice, "got": got | {"endless": endless.status},
                      "left": sorted(set(os.listdir("/tmp")) - before)}))

asyncio.run(main())
"""


def inside(*options: str) -> dict[str, Any]:
    """The program's verdicts in a container with these options of `docker run`."""
    version = ["docker", "run", "--rm", "--network", "none", BASE, "python3", "-c", "import sys; print(sys.version_info[1])"]
    asked = subprocess.run(version, capture_output=True, text=True, timeout=600)
    if asked.returncode and os.geteuid() != 0:
        pytest.skip(f"no engine or no image {BASE}: {asked.stderr.strip()}")
    assert asked.returncode == 0, f"{asked.stderr.strip()}; run .ci/docker"
    if int(asked.stdout) != sys.version_info[1]:
        pytest.skip(
            f"the packages of this Python 3.{sys.version_info[1]} do not load in {BASE}, which has 3.{asked.stdout.strip()}"
        )
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o755)  # a home folder that only its owner may enter would hide what is mounted below it
        mounts = ["-v", f"{home}:/root", "-v", f"{SITE}:/site:ro", "-v", f"{ROOT}:{ROOT}:ro"]
        command = ["docker", "run", "--rm", "-i", "-e", "SECRET=x", *mounts, *options, BASE, "python3", "-B", "-c", PROGRAM]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


WALLS = {
    "arithmetic": "ok",
    "own file": "ok",
    "other file": "error",
    "socket": "error",
    "server's environment": "error",
    "server": "error",
    "namespace": "error",
    "endless": "timeout",
}


@pytest.mark.parametrize("user", ["0", "1000"])
def test_in_a_default_container(user: str) -> None:
    seen = inside("--user", user, "-v", "/etc/hostname:/secret:ro")
    assert seen["level"] == seen["found"] == "LANDLOCK"
    assert seen["notice"].count("\n") == 0 and "namespaces is not to be had" in seen["notice"] and "docker run" in seen["notice"]
    assert seen["got"] == WALLS
    assert seen["left"] == []


def test_what_the_line_says_helps() -> None:
    """The way to the stronger level that the line names is one."""
    seen = inside("--user", "1000", "--init", "--security-opt", "seccomp=unconfined", "-v", "/etc/hostname:/secret:ro")
    assert seen["level"] == "NAMESPACES" and not seen["notice"]
    assert seen["got"] == WALLS | {"socket": "ok"}


def test_superseded_images_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same recipe only, not the newest, and not while they are young."""
    recipe = Recipe(BASE, (f"made-by-{os.getpid()}",))

    async def make(docker: Docker, tag: str) -> None:
        text = f"FROM {BASE}\nLABEL is={tag}\n".encode()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            entry = tarfile.TarInfo("Dockerfile")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
        buffer.seek(0)
        labels = {docker_image._RECIPE: recipe.name}  # pyright: ignore[reportPrivateUsage]
        async for _ in docker.images.build(fileobj=buffer, encoding="identity", tag=tag, labels=labels, stream=True):
            pass

    async def main() -> None:
        remove = docker_image._remove_superseded  # pyright: ignore[reportPrivateUsage]
        old, new = (f"turnwise-test:{word}{os.getpid()}" for word in ("old", "new"))
        async with Docker() as docker:
            try:
                await make(docker, old)
                await make(docker, new)
                await remove(docker, new, recipe)
                await docker.images.inspect(old)
                monkeypatch.setattr(docker_image, "_SPARED_S", -1.0)
                await remove(docker, new, recipe)
                await docker.images.inspect(new)
                with pytest.raises(DockerError):
                    await docker.images.inspect(old)
            finally:
                await docker.images.delete(new)

    asyncio.run(main())
