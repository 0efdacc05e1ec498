"""One Chromium process in bubblewrap with an empty network namespace, driven by Playwright over a pipe."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from turnwise.errors import SandboxFailure
from turnwise.tool_servers.browser.driver import DriverError, start_driver
from turnwise.tool_servers.browser.find import FLAGS, find_chromium
from turnwise.tool_servers.sandbox.bubblewrap import Box, command
from turnwise.tool_servers.sandbox.bubblewrap_launch import tree, usage
from turnwise.tool_servers.sandbox.limits import Limits

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Playwright

__all__ = ["Chromium"]

_READABLE = ("/etc/fonts", "/var/cache/fontconfig", "/etc/chromium", "/etc/localtime")
_START_S = 60.0
_ENDLESS_S = 1e9
_NO_NETWORK = ("--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>")
"""What is left of the empty network namespace where there is none; the site's own answers come before the proxy."""


class Chromium:
    """A started browser. `alive` turns False when it or its driver ends, and never back."""

    def __init__(self, playwright: Playwright, browser: Browser, root: int) -> None:
        self._playwright, self._browser, self._root = playwright, browser, root
        self.alive = True
        self.opened = 0
        """Contexts so far."""
        self.living = 0
        """Contexts at this moment; the owner counts them down."""
        browser.on("disconnected", lambda _: self._ended())

    @classmethod
    async def start(cls, executable: str | None, *, isolated: bool, memory_mb: int) -> Chromium:
        """Unsupported without Playwright or a Chromium, SandboxFailure if it does not start.

        `isolated=False` is for machines without user namespaces: the machine's network and files are in the browser's reach.
        """
        playwright = await start_driver()
        try:
            program = find_chromium(executable, playwrights=playwright.chromium.executable_path)
            token = f"--turnwise={os.urandom(8).hex()}"
            argv = _isolated(program, token, memory_mb) if isolated else _bare(program, token)
            browser = await playwright.chromium.launch(
                executable_path=argv[0],
                args=argv[1:],
                ignore_default_args=True,
                env={} if isolated else {"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
                timeout=_START_S * 1e3,
            )
        except DriverError as error:
            await playwright.stop()
            raise SandboxFailure("browser", f"Chromium did not start: {error.message}", retriable=True) from error
        except BaseException:
            await playwright.stop()
            raise
        return cls(playwright, browser, _process_with(token))

    async def context(self, **options: Any) -> BrowserContext:
        """A fresh, empty one."""
        context = await self._browser.new_context(**options)
        self.opened += 1
        self.living += 1
        return context

    @property
    def pid(self) -> int:
        """Of the process on this machine that all of the browser's are below."""
        return self._root

    def memory_mb(self) -> float:
        """Of all the browser's processes; their programs' own pages are not counted."""
        return usage(tree(self._root))[0]

    async def close(self) -> None:
        """End browser and driver; both may have ended already."""
        self.alive = False
        with suppress(DriverError):
            await self._browser.close()
        with suppress(DriverError, ConnectionError):
            await self._playwright.stop()

    def _ended(self) -> None:
        self.alive = False


def _bare(program: str, token: str) -> list[str]:
    """The browser by itself, with a profile that it forgets."""
    return [program, token, *(flag for flag in FLAGS if not flag.startswith("--user-data-dir")), *_NO_NETWORK]


def _isolated(program: str, token: str, memory_mb: int) -> list[str]:
    """The command line with bubblewrap before the browser."""
    limits = Limits(cpu_s=_ENDLESS_S, memory_mb=memory_mb, processes=4096, open_files=8192, disk_mb=768, inodes=16_384)
    folder = str(Path(program).parent)
    box = Box(
        limits=limits,
        readable=(*_READABLE, *(() if folder.startswith("/usr/") else (folder,))),
        environment={"HOME": "/tmp", "TZ": "UTC", "LANG": "en_US.UTF-8"},
        proc=True,
        reserve=False,
        tick_s=0.25,
        fds=5,
    )
    return command([program, token, *FLAGS], box)


def _process_with(token: str) -> int:
    """The first process whose command line holds the token: the supervisor, for it started before all below it."""
    holders = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and token.encode() in _command_line(entry)]
    if not holders:
        raise SandboxFailure("browser", "Chromium ended while it started", retriable=True)
    return min(holders, key=_start_of)


def _command_line(pid: str) -> bytes:
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""


def _start_of(pid: int) -> tuple[int, int]:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]), pid
    except OSError:
        return (1 << 62, pid)
