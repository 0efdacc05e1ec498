"""The docker sandbox on Podman's compatible socket, with a store of its own that goes with the test."""

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiodocker import Docker

from turnwise.tool_servers.sandbox.docker import DockerSandbox
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Level, SessionSpec, Status

BASE = "turnwise-base:latest"
pytestmark = pytest.mark.skipif(
    not (shutil.which("podman") and shutil.which("docker")) or os.geteuid() != 0,
    reason="needs podman, Docker with the base image to copy it from, and root",
)


@pytest.fixture
def url() -> Iterator[str]:
    """The socket of a Podman service that has the base image."""
    folder = Path(tempfile.mkdtemp(prefix="tw-"))  # Podman takes no long paths
    podman = ["podman", "--root", str(folder / "root"), "--runroot", str(folder / "run")]
    socket = folder / "podman.sock"
    words = [*podman, "system", "service", "-t", "0", f"unix://{socket}"]
    service = subprocess.Popen(words, start_new_session=True, cwd=folder)  # conmon notes there that memory ran out
    try:
        with subprocess.Popen(["docker", "save", BASE], stdout=subprocess.PIPE) as image:
            subprocess.run([*podman, "load", "-q"], stdin=image.stdout, check=True, capture_output=True, timeout=600)
        end = time.monotonic() + 240
        while not socket.exists():
            assert time.monotonic() < end and service.poll() is None, "podman's service does not start"
            time.sleep(0.05)
        yield f"unix://{socket}"
    finally:
        service.terminate()
        service.wait()
        subprocess.run([*podman, "rmi", "--all", "--force"], capture_output=True, timeout=600)
        shutil.rmtree(folder)


def test_a_session_in_podman(url: str) -> None:
    async def main() -> None:
        async with DockerSandbox(url=url, base=BASE, warm=1) as made:
            assert made.engine.podman and made.level is Level.DOCKER
            assert [line for line in made.found.lost if "inodes" in line], "what Podman cannot bound is told"
            limits = Limits(wall_s=10, memory_mb=100)
            session = await made.open(SessionSpec("p", limits=limits, files={"a": b"1"}))
            assert (await session.call(1, "python", {"code": "int(open('a').read()) + 1"})).value == "2"
            assert (await session.call(2, "python", {"code": "while True: pass"}, wall_s=0.3)).status is Status.TIMEOUT
            assert (await session.call(3, "python", {"code": "bytearray(300 << 20)"})).status is Status.MEMORY
            assert (await session.call(4, "python", {"code": "import os; os.setuid(0)"})).status is Status.ERROR
        async with Docker(url) as podman:
            assert await podman.containers.list(all=True) == []

    asyncio.run(main())
