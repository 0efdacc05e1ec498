"""The parts of the docker sandbox that need no engine: whose a container is, what it may do, the pool."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from turnwise.errors import SandboxFailure
from turnwise.tool_servers.sandbox.docker_container import CAPABILITIES, container_settings
from turnwise.tool_servers.sandbox.docker_engine import Engine
from turnwise.tool_servers.sandbox.docker_image import Recipe, packages_of
from turnwise.tool_servers.sandbox.docker_owner import LABEL, Owner, process_start
from turnwise.tool_servers.sandbox.docker_pool import Pool
from turnwise.tool_servers.sandbox.limits import Limits

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="owners are told apart by /proc")


@linux
def test_an_owner_survives_its_label() -> None:
    owner = Owner.this_process()
    assert owner.pid == os.getpid() and Owner.of({LABEL: str(owner), "other": "x"}) == owner
    assert Owner.of({}) is None and Owner.of({LABEL: "somebody"}) is None and Owner.of({LABEL: "a/b/c/d/e"}) is None


@linux
def test_only_what_is_provably_gone_is_gone() -> None:
    me = Owner.this_process()
    assert not me.is_gone()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other = replace(me, pid=child.pid, start=process_start(child.pid))
    assert not other.is_gone()
    child.communicate(b"\n")
    assert other.is_gone(), "ended"
    assert replace(me, start="1").is_gone(), "this pid belongs to a later process"
    for unseen in (
        replace(other, boot="another"),
        replace(other, namespace="[1]"),
        replace(other, boot=""),
        replace(other, start=""),
    ):
        assert not unseen.is_gone(), "another machine, another pid namespace, or nothing known"


def settings(**changes: object) -> dict[str, object]:
    return container_settings(
        "image", ["run"], Limits(memory_mb=100, disk_mb=20, inodes=7), labels={"a": "b"}, overhead_mb=30, **changes
    )  # type: ignore[arg-type]


def test_a_container_is_closed_where_it_can_be() -> None:
    made = settings()
    host = made["HostConfig"]
    assert isinstance(host, dict)
    assert host["CapDrop"] == ["ALL"] and set(host["CapAdd"]) == set(CAPABILITIES)
    assert not {"SYS_ADMIN", "SYS_PTRACE", "NET_RAW", "NET_ADMIN", "SYS_RESOURCE", "MKNOD", "SYS_CHROOT"} & set(CAPABILITIES)
    assert host["NetworkMode"] == "none" and host["ReadonlyRootfs"] and host["AutoRemove"] and host["Init"]
    assert host["Memory"] == host["MemorySwap"] == 150 << 20
    assert "size=20m" in host["Tmpfs"]["/tmp"] and "nr_inodes=7" in host["Tmpfs"]["/tmp"]
    assert not {"Binds", "Mounts", "Devices", "Privileged", "PidMode"} & set(host)
    assert made["StdinOnce"], "the container's input ends with its owner"
    assert settings(runtime="runsc")["HostConfig"]["Runtime"] == "runsc" and "Runtime" not in host  # type: ignore[index]


def test_the_system_call_profile() -> None:
    profile = json.loads(settings()["HostConfig"]["SecurityOpt"][1].removeprefix("seccomp="))  # type: ignore[index]
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    open_to_all = {
        name
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule
        for name in rule["names"]
    }
    assert {"read", "mmap", "execve", "landlock_restrict_self", "seccomp"} <= open_to_all
    dangerous = "ptrace process_vm_readv process_vm_writev io_uring_setup userfaultfd keyctl add_key bpf mount unshare setns"
    assert not open_to_all & {
        *dangerous.split(),
        "socket",
        "clone",
        "clone3",
        "kexec_load",
        "open_by_handle_at",
        "pidfd_getfd",
        "setxattr",
    }
    families = {rule["args"][0]["value"] for rule in profile["syscalls"] if rule["names"] == ["socket"]}
    assert families == {1, 2, 10}


def test_what_an_engine_lacks_is_told() -> None:
    whole = {
        "SecurityOptions": ["name=seccomp,profile=default"],
        "MemoryLimit": True,
        "PidsLimit": True,
        "Architecture": "amd64",
        "Runtimes": {"runc": {}, "runsc": {}},
    }
    docker = Engine.of({"Version": "20.10", "Components": [{"Name": "Engine"}]}, whole)
    assert docker == Engine("Docker 20.10", podman=False, gvisor=True, mapped=False, machine="x86_64", missing=())
    assert Engine.of({}, whole | {"SecurityOptions": ["name=seccomp", "name=rootless"]}).mapped
    bare = Engine.of({"Version": "20.10"}, {})
    assert [text.split(":")[0] for text in bare.missing] == [
        "no system call filter",
        "no bound of memory",
        "no bound of processes",
    ]
    podman = Engine.of({"Version": "4.3", "Components": [{"Name": "Podman Engine"}]}, whole)
    assert podman.podman and len(podman.missing) == 1 and "inodes" in podman.missing[0]


def test_equal_recipes_give_equal_bytes(tmp_path: Path) -> None:
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(b"wheel")
    recipe = Recipe("base", ("a",), tmp_path)
    assert recipe.context() == recipe.context() != Recipe("base", ("a",)).context()
    assert recipe.arguments() == {"BASE": "base", "PACKAGES": "a", "PIP_NO_INDEX": "1"}
    assert {p.split(">")[0] for p in packages_of("science")} == {"numpy", "pandas", "scipy", "sympy"}


@dataclass
class Item:
    shape: str
    alive: bool = True

    async def close(self) -> None:
        self.alive = False


class Factory:
    def __init__(self) -> None:
        self.made: list[Item] = []
        self.now = self.most = 0
        self.broken = False

    async def start(self, shape: str) -> Item:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        if self.broken:
            raise SandboxFailure("docker", "no")
        self.made.append(Item(shape))
        return self.made[-1]


async def until_ready(pool: Pool[str, Item], shape: str, n: int) -> None:
    async with asyncio.timeout(5):
        while pool.ready(shape) != n:
            await asyncio.sleep(0)


def test_a_pool_gives_each_item_once_and_fills_up_again() -> None:
    async def main() -> None:
        factory = Factory()
        pool = Pool(factory.start, 6, parallel=2)
        await pool.prepare("a")
        assert pool.ready("a") == 6 and factory.most == 2
        taken = [await pool.take("a") for _ in range(20)]
        assert len({id(item) for item in taken}) == 20
        await until_ready(pool, "a", 6)
        assert factory.most == 2
        await pool.close()
        assert sum(item.alive for item in factory.made) == 20, "what was given away is the taker's"

    asyncio.run(main())


def test_a_pool_forgets_old_shapes_and_dead_items() -> None:
    async def main() -> None:
        factory = Factory()
        pool = Pool(factory.start, 2, shapes=2)
        await pool.prepare("a")
        first = factory.made[0]
        first.alive = False
        assert await pool.take("a") is not first
        for shape in "bc":
            await pool.take(shape)
            await until_ready(pool, shape, 2)
        assert pool.ready("a") == 0 and pool.ready("b") == 2
        await pool.close()
        assert sum(item.alive for item in factory.made) == 3

    asyncio.run(main())


def test_a_pool_that_cannot_start_says_so_to_the_taker() -> None:
    async def main() -> None:
        factory = Factory()
        factory.broken = True
        pool = Pool(factory.start, 2)
        with pytest.raises(SandboxFailure):
            await pool.take("a")
        factory.broken = False
        assert (await pool.take("a")).alive
        await pool.close()

    asyncio.run(main())
