"""Levels are found by doing, said in one line, and never lowered in silence."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from turnwise.errors import ConfigError, Unsupported
from turnwise.tool_servers.sandbox import levels
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.protocol import Level, SessionSpec

NO_NAMESPACES = """
import os, struct, sys
from turnwise.tool_servers.guest import kernel
from turnwise.tool_servers.guest.namespaces import reveal
reveal([sys.base_prefix, os.path.realpath(sys.base_prefix), sys.prefix, {root!r}])
# what a default Docker container does: nobody may make a namespace
deny = [(0x20, 0, 0, 0), (0x15, 0, 1, {unshare}), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
from turnwise.tool_servers.guest import seccomp
os.setgroups([]); os.setresgid(54321, 54321, 54321); os.setresuid(54321, 54321, 54321)
kernel.no_new_privileges()
seccomp.apply(b"".join(struct.pack("HBBI", *i) for i in deny))
os.execv(sys.executable, [sys.executable, "-c", {code!r}])
"""
REPORT = """
import asyncio
from turnwise.errors import Unsupported
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.protocol import Level, SessionSpec
async def main():
    try:
        async with EmbeddedSandbox(): print("wrong")
    except Unsupported as error: print(error)
    async with EmbeddedSandbox(needs=Level.LANDLOCK) as sandbox:
        print(sandbox.level.name); print(sandbox.notice)
        print((await (await sandbox.open(SessionSpec("s"))).call(1, "python", {"code": "6 * 7"})).value)
asyncio.run(main())
"""


@pytest.mark.parametrize("level", levels.LEVELS)
def test_this_machine_holds_every_level(level: Level) -> None:
    assert asyncio.run(levels.probe(level)) == levels.Probe(level, "")


def test_the_strongest_is_taken() -> None:
    for needs in (Level.NAMESPACES, Level.LANDLOCK, Level.RLIMITS):
        assert asyncio.run(levels.reach(needs)) == (Level.NAMESPACES, "")


def test_what_docker_has_is_not_asked_of_the_embedded_one() -> None:
    with pytest.raises(ConfigError, match="docker backend has more"):
        EmbeddedSandbox(needs=Level.GVISOR)


def test_a_level_without_walls_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The canaries, let loose where there are no walls, must come back with prey: else they prove nothing."""

    async def main() -> str:
        zygote = await levels.Zygote.start(levels.plan_of(levels.profile_of("python"), Level.RLIMITS))
        try:
            return await levels._escapes(zygote)  # pyright: ignore[reportPrivateUsage]
        finally:
            await zygote.close()

    escaped = asyncio.run(main())
    for prey in ("read a file of the host", "write beside it", "over TCP", "abstract socket", "user namespace", "vsock"):
        assert prey in escaped

    async def broken(level: Level) -> levels.Probe:
        return levels.Probe(level, "" if level is Level.RLIMITS else f"code in a session could {escaped}")

    monkeypatch.setattr(levels, "probe", broken)
    with pytest.raises(Unsupported, match=r"needs level landlock.*read a file of the host"):
        asyncio.run(levels.reach(Level.LANDLOCK))
    level, notice = asyncio.run(levels.reach(Level.RLIMITS))
    assert level is Level.RLIMITS and notice.startswith("Sandbox level rlimits: no isolation") and "\n" not in notice


@pytest.mark.skipif(os.geteuid() != 0 or os.uname().machine != "x86_64", reason="becomes another user, by numbers of x86_64")
def test_where_namespaces_are_forbidden() -> None:
    root = str(Path(__file__).parents[2])
    program = NO_NAMESPACES.format(root=root, unshare=272, code=REPORT)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, timeout=600)
    assert done.returncode == 0, done.stderr
    refused, level, notice, value = done.stdout.splitlines()
    assert refused.startswith("EmbeddedSandbox: needs level namespaces.") and "unshare: Operation not permitted" in refused
    assert level == "LANDLOCK" and value == "42"
    assert notice.startswith("Sandbox level landlock: no namespaces") and "To get it" in notice


@pytest.mark.skipif(os.geteuid() != 0, reason="root loses a right")
def test_root_that_may_not_mount_is_an_ordinary_user() -> None:
    """As in a container that allows user namespaces and nothing else."""
    code = """
import asyncio
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.protocol import SessionSpec
async def main():
    async with EmbeddedSandbox() as sandbox:
        print(sandbox.level.name, (await (await sandbox.open(SessionSpec("s"))).call(1, "python", {"code": "6 * 7"})).value)
asyncio.run(main())
"""
    drop = "from turnwise.tool_servers.guest import kernel; kernel.prctl(24, 21)"  # CAP_SYS_ADMIN, also of what is started
    without = f"import os, sys; {drop}; os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", without, sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=600)
    assert done.stdout.split() == ["NAMESPACES", "42"], done.stderr


def test_a_forced_level_is_not_replaced() -> None:
    async def main() -> Level:
        async with EmbeddedSandbox(needs=Level.RLIMITS, level=Level.RLIMITS) as sandbox:
            result = await (await sandbox.open(SessionSpec("s"))).call(1, "python", {"code": "open('/etc/passwd').read(4)"})
            assert result.value == "'root'"
            return sandbox.level

    assert asyncio.run(main()) is Level.RLIMITS
