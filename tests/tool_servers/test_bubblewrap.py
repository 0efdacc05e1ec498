"""Real programs in real bubblewrap: what they can do, what they cannot, and what is left of them."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from turnwise.errors import ConfigError, SandboxFailure
from turnwise.tool_servers.sandbox.bubblewrap import Box, command, probe, run, start
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Status, ToolResult


def _works() -> bool:
    """Whether bwrap itself does, without anything of ours."""
    argv = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    return shutil.which("bwrap") is not None and subprocess.run(argv, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _works(), reason="bubblewrap cannot make a sandbox on this machine")
needs_gcc = pytest.mark.skipif(not Path("/usr/bin/gcc").exists(), reason="there is no gcc")
needs_python = pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="there is no /usr/bin/python3 to run inside")


def sh(script: str, box: Box | None = None, stdin: bytes = b"", **limits: float) -> ToolResult:
    return asyncio.run(run(["sh", "-c", script], limits=Limits(**limits), box=box, stdin=stdin))  # type: ignore[arg-type]


def python(code: str, **limits: float) -> ToolResult:
    return asyncio.run(run(["/usr/bin/python3", "-I", "-S", "-c", code], limits=Limits(**limits)))  # type: ignore[arg-type]


def processes_with(token: str) -> list[int]:
    found: list[int] = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and token.encode() in Path("/proc", entry, "cmdline").read_bytes():
                found.append(int(entry))
        except OSError:
            continue
    return found


def wait_for_none(token: str, deadline_s: float = 120.0) -> list[int]:
    end = time.monotonic() + deadline_s
    while (left := processes_with(token)) and time.monotonic() < end:
        time.sleep(0.02)
    return left


@needs_gcc
def test_compiles_and_runs() -> None:
    work = b"for (volatile long i = 0; i < 100000000; i++);"  # longer than two looks at the clock
    source = b"#include <stdio.h>\nint main(void) { int n; " + work + b' scanf("%d", &n); printf("%d\\n", 2 * n); return 3; }\n'
    result = asyncio.run(run(["sh", "-c", "gcc main.c -o main && ./main"], {"main.c": source}, stdin=b"21\n"))
    assert (result.status, result.out, result.value) == (Status.ERROR, "42\n", {"exit": 3})
    assert result.err == "Exit status 3."
    assert result.usage.cpu_ms > 5 and result.usage.wall_ms > 5 and result.usage.peak_mb > 1


def test_a_success_says_nothing() -> None:
    result = sh("cat; echo out; echo err >&2", stdin=b"in\n")
    assert (result.status, result.out, result.err, result.value) == (Status.OK, "in\nout\n", "err\n", {"exit": 0})
    assert not result.truncated


def test_files_lie_in_the_work_folder() -> None:
    result = asyncio.run(run(["sh", "-c", "pwd; ./a/run; ls -R; echo new > a/run"], {"a/run": b"#!/bin/sh\necho hello\n"}))
    assert result.out.startswith("/work\nhello\n") and result.status is Status.OK
    for path in ("/etc/x", "../x", "a/../../x", ""):
        with pytest.raises(ConfigError, match="relative"):
            asyncio.run(run(["true"], {path: b""}))
    with pytest.raises(ConfigError, match="argv"):
        asyncio.run(run([]))


def test_nothing_of_the_machine_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "tw-secret-4711")
    result = sh(
        "env; tr '\\0' '\\n' < /proc/1/environ; cat /etc/passwd /etc/shadow; ls / /root /home /tmp; id -u", Box(proc=True)
    )
    assert "tw-secret-4711" not in result.out + result.err
    assert set(result.out.split("\n/")[0].split()) >= {"HOME=/work", "PATH=/usr/local/bin:/usr/bin:/bin"}
    assert "root:" not in result.out and result.out.endswith("\n1000\n")
    assert set(sh("ls /").out.split()) <= {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "tmp", "usr", "work"}


def test_only_three_descriptors() -> None:
    assert sh("ls /proc/self/fd", Box(proc=True)).out.split() == ["0", "1", "2", "3"]  # 3 is ls's own


def test_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = sh(f"cat /proc/net/dev; exec 3<>/dev/tcp/127.0.0.1/{port}", Box(proc=True))
        bash = asyncio.run(run(["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]))
    assert [line.split(":")[0].strip() for line in result.out.splitlines()[2:]] == ["lo"]
    assert (bash.status is Status.ERROR and "refused" in bash.err) or "unreachable" in bash.err


@needs_python
@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.socket(socket.AF_VSOCK)",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "import ctypes; c = ctypes.CDLL(None, use_errno=True); assert c.unshare(0x10000000) == 0",
        "import ctypes; c = ctypes.CDLL(None, use_errno=True); assert c.ptrace(16, 1, 0, 0) == 0",
        "import ctypes; c = ctypes.CDLL(None, use_errno=True); assert c.syscall(425, 8, 0) >= 0",
        "import os; os.setuid(0)",
        "open('/usr/x', 'w')",
        "open('/x', 'w')",
        "open('/dev/x', 'w')",
        "import os; os.mknod('/work/null', 0o20666, os.makedev(1, 3))",
    ],
)
def test_refused(code: str) -> None:
    result = python(code)
    assert result.status is Status.ERROR and result.err.endswith("Exit status 1."), result


@pytest.mark.parametrize(
    ("script", "limits", "status", "line"),
    [
        ("sleep 60", {"wall_s": 0.4}, Status.TIMEOUT, "Stopped after 0.4 s"),
        ("trap '' TERM INT HUP; while :; do sleep 1; done", {"wall_s": 0.4}, Status.TIMEOUT, "Stopped after 0.4 s"),
        ("while :; do :; done", {"cpu_s": 0.3}, Status.TIMEOUT, "0.3 s of CPU time"),
        ("yes", {"output_stop_mb": 2}, Status.OUTPUT, "Stopped after 2 MB of output"),
        ("yes >&2", {"output_stop_mb": 2}, Status.OUTPUT, "Stopped after 2 MB of output"),
        ("kill -9 $$", {}, Status.DIED, "Ended by signal 9."),
        ("no-such-program", {}, Status.ERROR, "Exit status 127."),
    ],
)
def test_bounds(script: str, limits: dict[str, float], status: Status, line: str) -> None:
    result = sh(script, **limits)
    assert result.status is status and line in result.err, result


@needs_python
def test_memory_of_the_tree_is_bounded() -> None:
    code = "import os, time\nfor i in range(5):\n  if os.fork() == 0:\n    kept = bytearray(80 << 20); time.sleep(60)\nos.wait()"
    result = python(code, memory_mb=200, wall_s=20)
    assert result.status is Status.MEMORY and "200 MB" in result.err


@needs_python
def test_processes_are_bounded() -> None:
    code = (
        "import os, time\nn = 0\ntry:\n  while True:\n    if os.fork() == 0: time.sleep(60)\n    n += 1\nexcept OSError: print(n)"
    )
    result = python(code, processes=16)
    assert result.status is Status.OK and 8 <= int(result.out) <= 20
    assert sh("echo the next one is well", processes=16).status is Status.OK


def test_disk_and_files_are_bounded() -> None:
    fill = "for f in /work/a /tmp/a /dev/shm/a; do dd if=/dev/zero of=$f bs=1M count=40 2>/dev/null; done"
    result = sh(f"{fill}; du -cm /work /tmp /dev/shm | tail -1", disk_mb=8)
    assert int(result.out.split()[0]) <= 10
    for folder in ("/work", "/dev/shm"):
        many = f"cd {folder}; i=0; while [ $i -lt 100 ]; do touch f$i 2>/dev/null; i=$((i+1)); done; ls | wc -l"
        assert 40 <= int(sh(many, inodes=64).out) < 64


def test_proc_hides_the_first_process() -> None:
    box = Box(proc=True)
    assert sh("ls /proc/1 | wc -l; touch /proc/1/x", box).out == "0\n"
    assert int(sh("ls /proc/self | wc -l", box).out) > 20


def test_shared_folders_are_read_only(tmp_path: Path) -> None:
    for path in tmp_path.parents[:3]:
        path.chmod(path.stat().st_mode | 0o055)
    shared = tmp_path / "data"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    (shared / "big").write_text("seen\n")
    (shared / "out").symlink_to(tmp_path / "hidden")
    (tmp_path / "hidden").write_text("hidden\n")
    box = Box(shared={"data": str(shared)})
    assert sh("cat /shared/data/big", box).out == "seen\n"
    assert sh("cat /shared/data/out || echo no", box).out == "no\n"
    assert sh("touch /shared/data/new", box).status is Status.ERROR and not (shared / "new").exists()


def test_output_keeps_head_and_tail() -> None:
    result = sh("echo first; yes | head -c 300000; echo last", output_kb=4)
    assert result.truncated and result.out.startswith("first\ny\n") and result.out.endswith("y\nlast\n")
    assert "bytes cut out" in result.out and len(result.out) < 4200
    exact = sh("head -c 4096 /dev/zero | tr '\\0' a", output_kb=4)
    assert exact.out == "a" * 4096 and not exact.truncated
    assert sh("printf '\\377\\376ok'").out == "\ufffd\ufffdok"


def test_what_stays_behind_dies() -> None:
    token = f"turnwise-{os.getpid()}-{time.monotonic_ns()}"
    result = sh(f"setsid sh -c 'sleep 600 {token}' >/dev/null 2>&1 & sleep 0.1; echo done")
    assert result.out == "done\n"
    assert not wait_for_none(token)


def test_cancelled_run_leaves_nothing() -> None:
    token = f"turnwise-{os.getpid()}-{time.monotonic_ns()}"

    async def scene() -> None:
        task = asyncio.create_task(run(["sh", "-c", f"sleep 600; : {token}"], limits=Limits(wall_s=100)))
        while len(processes_with(token)) < 2 and not task.done():
            await asyncio.sleep(0.02)
        assert not task.done(), task.result()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    assert not wait_for_none(token)


def test_the_owners_death_ends_all() -> None:
    token = f"turnwise-{os.getpid()}-{time.monotonic_ns()}"
    code = (
        "import asyncio; from turnwise.tool_servers.sandbox.bubblewrap import *\n"
        "from turnwise.tool_servers.sandbox.limits import Limits\n"
        "async def main():\n"
        f"    argv = ['sh', '-c', 'setsid sleep 600 & sleep 600; : {token}']\n"
        "    boxes = [await start(argv, Box(limits=Limits(wall_s=600))) for _ in range(3)]\n"
        "    print('ready', flush=True); await asyncio.sleep(600)\n"
        "asyncio.run(main())"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as owner:
        try:
            assert owner.stdout and owner.stdout.readline() == b"ready\n"
            end = time.monotonic() + 120
            while (seen := len(processes_with(token))) < 3 * 3 + 1 and time.monotonic() < end:
                time.sleep(0.02)
            assert seen >= 3 * 3 + 1  # the owner; bwrap twice and a shell in each box
        finally:
            owner.send_signal(signal.SIGKILL)
    assert not wait_for_none(token)


def test_probe() -> None:
    asyncio.run(probe())


def test_start_and_kill() -> None:
    async def scene() -> bool:
        program = await start(["cat"], Box())
        assert program.process.stdin and program.process.stdout
        program.process.stdin.write(b"ping\n")
        assert await program.process.stdout.readline() == b"ping\n"
        await program.kill()
        await program.kill()
        return Path(f"/proc/{program.pid}").exists()

    assert not asyncio.run(scene())


def test_a_sandbox_that_cannot_be_made_is_a_failure() -> None:
    with pytest.raises(SandboxFailure, match="setenv"):
        asyncio.run(run(["true"], box=Box(environment={"A=B": ""})))


@pytest.mark.skipif(os.getuid() != 0 or not Path("/usr/bin/setpriv").exists(), reason="needs root to become somebody else")
@needs_python
def test_an_ordinary_user_can_as_well(tmp_path: Path) -> None:
    """The same command line, run by a user without any right; the house's files are copied to where that user may read."""
    house = tmp_path / "house"
    sources = Path(sys.modules[run.__module__].__file__ or "").parents[1]
    for name in ("guest/kernel.py", "guest/meter.py", "sandbox/bubblewrap_launch.py"):
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sources / name, house / name)
    for folder in (*tmp_path.parents[:3], tmp_path, house, house / "guest", house / "sandbox"):
        folder.chmod(folder.stat().st_mode | 0o055)
    argv = command(["sh", "-c", "id -u; ls /work; touch /work/mine && echo mine"], Box(files={"a": b"x"}))
    argv[argv.index(str(sources))] = str(house)
    ordinary = ["/usr/bin/setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "/usr/bin/python3", *argv[1:]]
    done = subprocess.run(ordinary, capture_output=True, text=True, env={}, timeout=300, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("1000\na\nmine\n", "", 0)


def test_the_plan_is_json() -> None:
    plan = json.loads(command(["true"], Box())[-1])
    assert plan["argv"] == ["true"] and plan["wall_s"] is None and plan["uid"] >= 0x60000000


@pytest.mark.skipif(os.getuid() != 0, reason="only root has folders that its own programs could not reach")
def test_folders_behind_closed_doors_can_be_shown(tmp_path: Path) -> None:
    """Such as a browser that root downloaded into its home."""
    (tmp_path / "closed" / "shown").mkdir(parents=True)
    (tmp_path / "closed" / "shown" / "file").write_text("seen\n")
    (tmp_path / "closed" / "other").write_text("hidden\n")
    (tmp_path / "closed").chmod(0o700)
    shown = str(tmp_path / "closed" / "shown")
    result = sh(f"cat {shown}/file; cat {tmp_path}/closed/other; touch {shown}/new", Box(readable=(shown, "/no/such/folder")))
    assert result.out == "seen\n" and result.status is Status.ERROR and "Read-only" in result.err
