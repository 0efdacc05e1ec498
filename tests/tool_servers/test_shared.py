"""Folders of the machine that sessions ask for by name: seen by who asks, written by nobody, no way out of them."""

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.tool_servers.attacks.backends import BACKENDS, IMAGE
from turnwise.errors import ConfigError, UnknownName
from turnwise.tool_servers.sandbox.docker import DockerSandbox
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.protocol import Level, Sandbox, SessionSpec, Status
from turnwise.tool_servers.sandbox.shared import checked_folders
from turnwise.tool_servers.wire import spec_from, spec_to

ATTACK = r"""
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
got = []
def attempt(name, work):
    try:
        if work() is not False: got.append(name)
    except (OSError, ValueError): pass
big = '/shared/data/big'
attempt('write', lambda: open(big, 'r+b'))
attempt('make', lambda: open('/shared/data/new', 'w'))
attempt('unnamed', lambda: os.open('/shared/data', os.O_TMPFILE | os.O_WRONLY))
attempt('truncate', lambda: os.truncate(big, 0))
attempt('rename', lambda: os.rename(big, '/shared/data/other'))
attempt('remove', lambda: os.unlink(big))
attempt('folder', lambda: os.mkdir('/shared/data/folder'))
attempt('mode', lambda: os.chmod(big, 0o777))
attempt('times', lambda: os.utime(big))
attempt('attribute', lambda: os.setxattr(big, 'user.x', b'1'))
attempt('hard link out', lambda: os.link(big, '/work/linked') or open('/work/linked', 'r+'))
attempt('hard link in', lambda: os.link(__file__ if '__file__' in globals() else '/etc/passwd', '/shared/data/in'))
attempt('link out', lambda: 'hidden' in open('/shared/data/out').read())
attempt('link up', lambda: 'hidden' in open('/shared/data/up/hidden').read())
attempt('dots', lambda: 'hidden' in open('/shared/data/../hidden').read())
attempt('the other', lambda: bool(os.listdir('/shared/other')))
attempt('beside', lambda: open('/shared/new', 'w'))
attempt('remount', lambda: libc.mount(None, b'/shared/data', None, 4096 | 32, None) == 0)
attempt('unmount', lambda: libc.umount2(b'/shared/data', 2) == 0)
fd = os.open(big, os.O_RDONLY)
attempt('map', lambda: mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_WRITE))
attempt('again', lambda: os.open(f'/proc/self/fd/{fd}', os.O_RDWR))
got, open(big).read()
"""


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Two folders that everybody may write to, if only they could; with links that lead out of them."""
    for path in tmp_path.parents[:3]:
        path.chmod(path.stat().st_mode | 0o055)
    tmp_path.joinpath("hidden").write_text("hidden")
    for name in ("data", "other"):
        folder = tmp_path / name
        folder.mkdir()
        folder.chmod(0o777)
        (folder / "big").write_text("seen")
        (folder / "big").chmod(0o666)
    (tmp_path / "data/out").symlink_to(tmp_path / "hidden")
    (tmp_path / "data/up").symlink_to("..")
    return {"data": tmp_path / "data", "other": tmp_path / "other"}


async def attacked(sandbox: AbstractAsyncContextManager[Sandbox], forks: bool) -> None:
    async with sandbox as opened:
        session = await opened.open(SessionSpec("asks", shared=("data",)))
        held = "([], 'seen')"
        result = await session.call(1, "python", {"code": ATTACK})
        assert (result.status, result.value) == (Status.OK, held), result
        for path in ("../shared/data/big", "/shared/data/big"):
            with pytest.raises(ConfigError):
                await session.get(path)
        if forks:
            (twin,) = await session.fork(["twin"])
            assert (await twin.call(2, "python", {"code": ATTACK})).value == held
        plain = await opened.open(SessionSpec("does-not"))
        look = "import os\n[os.listdir(p) if os.path.isdir(p) else [] for p in ('/shared/data', '/shared/other')]"
        assert (await plain.call(1, "python", {"code": look})).value == "[[], []]"
        with pytest.raises(UnknownName, match="data"):
            await opened.open(SessionSpec("errs", shared=("date",)))


def check(make: Callable[[], AbstractAsyncContextManager[Sandbox]], folders: dict[str, Path], forks: bool) -> None:
    asyncio.run(attacked(make(), forks))
    assert sorted(p.name for p in folders["data"].iterdir()) == ["big", "out", "up"]
    assert (folders["data"] / "big").read_text() == "seen" and (folders["data"] / "big").stat().st_mode & 0o777 == 0o666


def test_embedded(folders: dict[str, Path]) -> None:
    check(lambda: EmbeddedSandbox(shared=folders), folders, forks=True)


def test_docker(folders: dict[str, Path]) -> None:
    if why := BACKENDS["docker"].lacks():
        pytest.skip(why)
    check(lambda: DockerSandbox(base=IMAGE, shared=folders), folders, forks=False)


def test_landlock_has_no_mounts_and_says_so(folders: dict[str, Path]) -> None:
    async def main() -> None:
        async with EmbeddedSandbox(level=Level.LANDLOCK, needs=Level.LANDLOCK, shared=folders) as sandbox:
            with pytest.raises(ConfigError, match="need level namespaces"):
                await sandbox.open(SessionSpec("s", shared=("data",)))

    asyncio.run(main())


def test_what_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    for name in ("", "../x", "a/b", "a" * 65):
        with pytest.raises(ConfigError, match="a name must be"):
            checked_folders({name: tmp_path})
    with pytest.raises(ConfigError, match="is no folder"):
        checked_folders({"a": tmp_path / "missing"})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's sessions are another user")
def test_what_others_cannot_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "secret").chmod(0o600)
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="secret; chmod"):
        checked_folders({"a": tmp_path})


def test_names_go_over_the_wire() -> None:
    spec = SessionSpec("s", shared=("a", "b"))
    assert spec_from(spec_to(spec)) == spec
