# ruff: noqa: E501  (programs that attack are written as one string)
"""The embedded sandbox: what a session does, what it cannot reach, where each limit stops it, and that calls run once."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from turnwise.errors import ConfigError, SandboxFailure, UnknownName
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox, EmbeddedSession
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.profiles import PROFILES, Profile
from turnwise.tool_servers.sandbox.protocol import ForkRefused, Level, SessionSpec, Status, ToolResult

SMALL = Limits(wall_s=20, memory_mb=128, processes=12, disk_mb=8, inodes=100, output_kb=4, output_stop_mb=2, value_kb=16)


class Cells:
    """A session whose calls are numbered by itself."""

    def __init__(self, session: EmbeddedSession, seq: int = 0) -> None:
        self.session, self.seq = session, seq

    async def run(self, code: str, wall_s: float | None = None) -> ToolResult:
        self.seq += 1
        return await self.session.call(self.seq, "python", {"code": code}, wall_s=wall_s)

    async def value(self, code: str) -> object:
        result = await self.run(code)
        assert result.status is Status.OK, result
        return result.value

    async def fork(self, *ids: str) -> list["Cells"]:
        return [Cells(twin, self.seq) for twin in await self.session.fork(ids)]


def in_session(
    test: Callable[[Cells], Awaitable[None]], limits: Limits = SMALL, level: Level = Level.NAMESPACES, **spec: object
) -> None:
    async def main() -> None:
        async with EmbeddedSandbox(needs=level, level=level) as sandbox:
            assert sandbox.level is level
            await test(Cells(await sandbox.open(SessionSpec("s", limits=limits, **spec))))  # type: ignore[arg-type]

    asyncio.run(main())


LEVELS = pytest.mark.parametrize("level", [Level.NAMESPACES, Level.LANDLOCK], ids=lambda level: level.name.lower())


# --- what it does -----------------------------------------------------------------------------------------------------


@LEVELS
def test_a_repl_with_files(level: Level) -> None:
    async def test(cells: Cells) -> None:
        first = await cells.run("print('hello')\nimport sys; print('oops', file=sys.stderr)\nx = 20\nx + 1")
        assert (first.status, first.out, first.err, first.value) == (Status.OK, "hello\n", "oops\n", "21")
        assert first.usage.wall_ms > 0 and first.usage.cpu_ms > 0 and first.usage.peak_mb > 1
        assert await cells.value("open('in/a.txt').read() + str(x)") == "'given20'"
        await cells.session.put("in/deep/b.bin", b"\0\1")
        await cells.value("open('out', 'wb').write(open('in/deep/b.bin', 'rb').read() * 2)")
        assert await cells.session.get("out") == b"\0\1\0\1"
        failed = await cells.run("1/0")
        assert failed.status is Status.ERROR and "ZeroDivisionError" in failed.err and not failed.restarted
        assert await cells.value("x") == "20"

    in_session(test, level=level, files={"in/a.txt": b"given"})


def test_equal_seeds_give_equal_draws() -> None:
    async def main() -> list[object]:
        async with EmbeddedSandbox() as sandbox:
            sessions = [await sandbox.open(SessionSpec(f"s{i}", seed=seed)) for i, seed in enumerate((7, 7, 8))]
            return [await Cells(s).value("import random; random.random()") for s in sessions]

    a, b, c = asyncio.run(main())
    assert a == b != c


def test_science_is_there_at_once() -> None:
    pytest.importorskip("scipy")

    async def main() -> None:
        async with EmbeddedSandbox(profiles=("science",)) as sandbox:
            for seed in (1, 1):
                session = await sandbox.open(SessionSpec("s", profile="science", seed=seed))
                cells = Cells(session)
                loaded = "import sys; [m for m in ('numpy', 'sympy', 'pandas', 'scipy') if m not in sys.modules]"
                assert await cells.value(loaded) == "[]"
                assert await cells.value("import sympy; sympy.integrate(sympy.Symbol('x'))") == "x**2/2"
                assert await cells.value("import numpy as np; round(np.random.rand(), 6)") == "0.417022"
                await session.close()

    asyncio.run(main())


def test_packages_below_a_folder_of_the_session_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout in /tmp: the session's own /tmp covers the host's, but not what its interpreter needs."""
    if not tmp_path.is_relative_to("/tmp"):
        pytest.skip("temporary folders are elsewhere on this machine")
    package = tmp_path / "site" / "latecomer"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "later.py").write_text("WORD = 'here'\n")
    monkeypatch.syspath_prepend(str(package.parent))
    worker = PROFILES["python"].worker
    monkeypatch.setitem(PROFILES, "late", Profile("late", worker, imports=("latecomer",)))

    async def main() -> None:
        async with EmbeddedSandbox(profiles=("late",)) as sandbox:
            cells = Cells(await sandbox.open(SessionSpec("s", profile="late", limits=SMALL)))
            assert await cells.value("open('/tmp/mine', 'w').write('x')") == "1"
            (twin,) = await cells.fork("t")
            for each in (cells, twin):
                assert await each.value("from latecomer.later import WORD; WORD") == "'here'"
                assert await each.value("open('/tmp/mine').read()") == "'x'"
                refused = await each.run(f"open({str(package / 'new')!r}, 'w')")
                assert refused.status is Status.ERROR and "Read-only" in refused.err
                assert await each.value(f"import os; os.listdir({str(tmp_path)!r})") == "['site']"

    asyncio.run(main())


def test_a_worker_that_refuses_its_settings() -> None:
    async def main() -> None:
        async with EmbeddedSandbox() as sandbox:
            with pytest.raises(ConfigError, match="no settings, got 'colour'"):
                await sandbox.open(SessionSpec("s", settings={"colour": 1}))
            with pytest.raises(UnknownName, match="sandbox profile"):
                await sandbox.open(SessionSpec("s", profile="pyton"))
            await sandbox.open(SessionSpec("s"))

    asyncio.run(main())


# --- what it cannot reach -----------------------------------------------------------------------------------------------


@LEVELS
def test_nothing_of_the_host_is_reached(level: Level, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "secret-7361")
    secret = tmp_path / "secret"
    secret.write_text("secret-7361")
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and folder.owner() == tmp_path.owner() and folder != Path("/tmp"):
            folder.chmod(0o755)
    listener = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind(f"\0canary-{os.getpid()}")
    abstract.listen()

    async def test(cells: Cells) -> None:
        await cells.value("import ctypes, os, socket, subprocess\nlibc = ctypes.CDLL(None, use_errno=True)")
        for attack in (
            f"open({str(secret)!r})",
            f"os.listdir({str(tmp_path)!r})",
            "open('/etc/shadow')",
            f"open('/proc/{os.getpid()}/environ')",
            "open('/proc/1/environ')",
            "open('/proc/self/environ')",
            f"socket.create_connection(('127.0.0.1', {listener.getsockname()[1]}), 2)",
            "socket.create_connection(('1.1.1.1', 53), 2)",
            f"socket.socket(socket.AF_UNIX).connect('\\0canary-{os.getpid()}')",
            "socket.socket(40, socket.SOCK_STREAM)",
            "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
            "socket.socket(38, socket.SOCK_SEQPACKET)",
            f"os.kill({os.getpid()}, 0)",
            "os.setuid(0)",
            "os.chroot('/tmp')",
            "open('/usr/lib/mine', 'w')",
            "os.mknod('disk', 0o60600, os.makedev(8, 0))",
            "__import__('resource').setrlimit(__import__('resource').RLIMIT_NPROC, (4000, 4000))",
        ):
            result = await cells.run(attack)
            assert result.status is Status.ERROR and "Error" in result.err, (attack, result)
        for call in (
            "libc.unshare(0x10000000)",
            "libc.ptrace(0, 0, 0, 0)",
            "libc.setns(0, 0)",
            "libc.mount(b'x', b'/tmp', b'tmpfs', 0, None)",
            "libc.syscall(425, 8, 0)",
            "libc.syscall(323, 0)",
            "libc.syscall(250, 0, 0, 0)",
            "libc.syscall(319, b'x', 0)",
            "libc.syscall(100000)",
        ):
            assert await cells.value(call) == "-1", call
        assert "secret-7361" not in str(await cells.value("dict(os.environ)"))
        caps = "h = ctypes.create_string_buffer(bytes.fromhex('2205082000000000')); d = ctypes.create_string_buffer(24)\nlibc.capget(h, d), d.raw.strip(b'\\0')"
        assert await cells.value(caps) == "(0, b'')"
        assert await cells.value("[f for f in range(6, 256) if os.path.exists(f'/dev/fd/{f}') or libc.fcntl(f, 1) >= 0]") == "[]"

    with listener, abstract:
        in_session(test, level=level)


def test_own_namespaces() -> None:
    async def test(cells: Cells) -> None:
        assert await cells.value("import os, socket; os.getuid(), os.getppid(), socket.gethostname()") == "(65534, 1, 'sandbox')"
        assert (
            await cells.value("sorted(os.listdir('/proc')), sorted(os.listdir('/tmp')), os.path.exists('/home')")
            == "([], [], False)"
        )
        server = "s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); s.accept()[0].send(b'hi'); c.recv(2)"
        assert await cells.value(server) == "b'hi'"
        assert (
            await cells.value("import subprocess; subprocess.run(['sh', '-c', 'echo $0 out'], capture_output=True).stdout")
            == "b'sh out\\n'"
        )

    in_session(test)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "link", "linked/x", "fifo", "folder", "", "."])
def test_files_stay_within(path: str) -> None:
    async def test(cells: Cells) -> None:
        await cells.value(
            "import os; os.symlink('/etc/passwd', 'link'); os.symlink('/etc', 'linked'); os.mkfifo('fifo'); os.mkdir('folder')"
        )
        with pytest.raises((ConfigError, FileNotFoundError)):
            await cells.session.get(path)
        if path in ("link", "fifo"):  # replaced, not followed
            await cells.session.put(path, b"mine")
            assert await cells.session.get(path) == b"mine"
            assert "mine" not in str(await cells.value("open('/etc/passwd').read()"))
        else:
            with pytest.raises(ConfigError):
                await cells.session.put(path, b"mine")

    in_session(test)


def test_large_files() -> None:
    async def test(cells: Cells) -> None:
        await cells.value("open('sparse', 'w').truncate(8 << 20)")
        with pytest.raises(ConfigError, match="8388608 bytes, at most 1000000"):
            await cells.session.get("sparse")
        assert len(await cells.session.get("sparse", max_bytes=8 << 20)) == 8 << 20
        with pytest.raises(ConfigError, match="No space left"):
            await cells.session.put("much", bytes(16 << 20))
        assert await cells.value("import os; sorted(os.listdir())") == "['sparse']"

    in_session(test)


# --- limits -----------------------------------------------------------------------------------------------------------------

ATTACKS = {
    "wall": ("while True: pass", Status.TIMEOUT, "0.5 s"),
    "deaf": ("import signal, time\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n    except OSError: pass\nwhile True: time.sleep(1)", Status.TIMEOUT, "0.5 s"),
    "stopped": ("import os; os.kill(os.getpid(), 19)", Status.TIMEOUT, "0.5 s"),
    "memory": ("x = bytearray(300 << 20)", Status.MEMORY, "128 MB of memory"),
    "memory of many": ("import os, time\nfor _ in range(4):\n    if not os.fork():\n        x = bytearray(60 << 20); time.sleep(60)\ntime.sleep(15)", Status.MEMORY, "128 MB of memory"),
    "output": ("while True: print('x' * 1000)", Status.OUTPUT, "2 MB of output"),
    "cpu": ("while True: pass", Status.TIMEOUT, "CPU time"),
    "exit": ("import os; os._exit(0)", Status.DIED, "ended"),
    "crash": ("import ctypes; ctypes.string_at(0)", Status.DIED, "ended"),
    "kill all": ("import os\nif os.fork():\n    os.kill(-1, 9); os.kill(os.getpid(), 9)\nwhile True: pass", Status.DIED, "ended"),
    "long claim": ("import os; os.write(3, b'\\x7f' * 100)", Status.ERROR, "16 kB"),
    "closed channel": ("import os; os.close(3)", Status.DIED, "ended"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_each_limit_stops_and_the_session_goes_on(name: str) -> None:
    code, status, words = ATTACKS[name]
    limits = Limits(wall_s=20, cpu_s=0.6 if name == "cpu" else 60, memory_mb=128, output_stop_mb=2, value_kb=16, output_kb=4)

    async def test(cells: Cells) -> None:
        await cells.value("kept = 1; open('kept', 'w').write('kept')")
        result = await cells.run(code, wall_s=0.5 if "0.5" in words else None)
        assert result.status is status and words in result.err and "files are kept" in result.err and result.restarted, result
        if name == "cpu":
            again = await cells.run("while True: pass")
            assert again.status is Status.TIMEOUT and "CPU time" in again.err
            return
        after = await cells.run("open('kept').read()")
        assert (after.status, after.value, after.restarted) == (Status.OK, "'kept'", False)
        assert "NameError" in (await cells.run("kept")).err

    in_session(test, limits)


def test_the_files_and_processes_end_in_an_error_that_the_code_sees() -> None:
    async def test(cells: Cells) -> None:
        assert "File too large" in (await cells.run("open('big', 'wb').write(bytes(12 << 20))")).err
        assert "No space left" in (await cells.run("open('more', 'wb').write(bytes(6 << 20))")).err
        many = "import os\nn = 0\ntry:\n    while True:\n        open(f'/tmp/{n}', 'w').close(); n += 1\nexcept OSError: pass\nn < 110"
        assert await cells.value(many) == "True"
        bomb = "n = 0\ntry:\n    while n < 100:\n        if not os.fork():\n            import time; time.sleep(60)\n        n += 1\nexcept BlockingIOError: pass\nn"
        assert await cells.value(bomb) == "11"
        fds = "f = []\ntry:\n    while True: f.append(os.open('/dev/null', 0))\nexcept OSError: pass\nlen(f) <= 256"
        assert await cells.value(fds) == "True"

    in_session(test)


def test_output_is_kept_at_both_ends() -> None:
    async def test(cells: Cells) -> None:
        for size in (0, 4095, 4096):
            result = await cells.run(f"import sys; _ = sys.stdout.write('a' * {size})")
            assert (result.out, result.truncated) == ("a" * size, False)
        result = await cells.run("print('head' + 'x' * 1_000_000 + 'tail', end='')")
        assert result.truncated and result.out == f"head{'x' * 2044}\n[... 995912 bytes cut out ...]\n{'x' * 2044}tail"
        raw = await cells.run("import os; _ = os.write(1, b'\\xff\\x00ok')")
        assert raw.out == "\ufffd\0ok"
        closed = await cells.run("os.close(1); os.close(2)")
        assert closed.status is Status.OK
        assert (await cells.run("print('again')")).out == "again\n"
        assert (await cells.run("'\\ud800'")).value == "'\\ud800'"

    in_session(test)


def test_children_end_with_a_call_that_timed_out() -> None:
    async def test(cells: Cells) -> None:
        spawn = "import os, subprocess\np = subprocess.Popen(['sleep', '600'], start_new_session=True)\nwhile True: pass"
        assert (await cells.run(spawn, wall_s=0.5)).status is Status.TIMEOUT
        alive = "import os\ndef alive(p):\n    try: os.kill(p, 0); return True\n    except OSError: return False\n[p for p in range(2, 200) if alive(p) and p != os.getpid()]"
        assert await cells.value(alive) == "[]"

    in_session(test)


def test_a_process_that_forges_claims_changes_its_own_result_only() -> None:
    async def test(cells: Cells) -> None:
        forge = (
            "import json, os, struct\n"
            "def frame(o): b = json.dumps(o).encode(); return struct.pack('!II', len(b), 0) + b\n"
            "for n in range(1, 50): os.write(3, frame({'call': n, 'ok': True, 'value': 'forged', 'status': 'ok', 'n': n, 'm': 0}))\n"
            "for fd in (0, 1, 2, 4, 5):\n    try: os.write(fd, frame({'n': 3, 'status': 'ok', 'value': 'x'}))\n    except OSError: pass\n"
            "while True: pass"
        )
        result = await cells.run(forge, wall_s=0.5)
        assert result.value in ("forged", None) and result.seq == 1
        assert (await cells.run("1", wall_s=0.5)).seq == 2
        assert (await cells.run("import os; os._exit(0)", wall_s=0.5)).status in (Status.DIED, Status.TIMEOUT)
        assert await cells.value("1 + 1") == "2"

    in_session(test)


# --- once ---------------------------------------------------------------------------------------------------------------


def test_calls_run_once_and_in_order() -> None:
    async def test(cells: Cells) -> None:
        s = cells.session
        code = {"code": "n = globals().get('n', 0) + 1; import time; time.sleep(0.2); n"}
        same = await asyncio.gather(*(s.call(1, "python", code) for _ in range(3)))
        assert [r.value for r in same] == ["1"] * 3 and same[0] is same[2]
        assert (await s.call(1, "python", {"code": "n"})) is same[0]
        with pytest.raises(ConfigError, match="must be 2, the next"):
            await s.call(3, "python", code)
        waiter = asyncio.create_task(s.call(2, "python", code))
        await asyncio.sleep(0)
        third = asyncio.create_task(s.call(3, "python", {"code": "n"}))
        await asyncio.sleep(0)
        waiter.cancel()
        assert (await s.call(2, "python", code)).value == "2" and (await third).value == "2"
        for seq in range(4, 13):
            await s.call(seq, "python", {"code": str(seq)})
        assert (await s.call(12, "python", {"code": ""})).value == "12"
        with pytest.raises(ConfigError):
            await s.call(2, "python", code)

    in_session(test)


def test_the_quota_of_calls() -> None:
    async def test(cells: Cells) -> None:
        assert [(await cells.run("1")).status for _ in range(3)] == [Status.OK, Status.OK, Status.QUOTA]

    in_session(test, Limits(calls=2))


def test_the_same_id_is_the_same_session() -> None:
    async def main() -> None:
        async with EmbeddedSandbox() as sandbox:
            a, b = await asyncio.gather(sandbox.open(SessionSpec("s")), sandbox.open(SessionSpec("s")))
            assert a is b
            with pytest.raises(ConfigError, match="another spec"):
                await sandbox.open(SessionSpec("s", seed=1))
            await a.close()
            await a.close()
            with pytest.raises(SandboxFailure, match="closed"):
                await a.call(1, "python", {"code": "1"})
            assert await sandbox.open(SessionSpec("s", seed=1)) is not a

    asyncio.run(main())


# --- forks --------------------------------------------------------------------------------------------------------------


def test_forks_are_equal_and_independent() -> None:
    async def test(cells: Cells) -> None:
        await cells.value(
            "import os, random\nx = [1]; random.seed(5)\nos.makedirs('d/e'); open('d/e/f', 'w').write('12345')\n"
            "os.link('d/e/f', 'hard'); os.symlink('f', 'd/e/soft'); os.mkfifo('pipe'); open('sparse', 'w').truncate(6 << 20)\n"
            "g = open('d/e/f', 'r+'); _ = g.read(2); os.chdir('d')"
        )
        before = cells.seq
        twins = await cells.fork("b", "c")
        family = [cells, *twins]
        look = "os.getcwd(), x, random.random(), os.stat('/work/hard').st_nlink, os.readlink('e/soft'), os.stat('/work/sparse').st_size, g.read(1)"
        assert len({str(await c.value(look)) for c in family}) == 1
        assert (await twins[0].session.call(before, "python", {"code": ""})).status is Status.OK
        for i, c in enumerate(family):
            await c.value(f"x.append({i}); open('/work/mark', 'w').write('{i}'); g.seek(0); _ = g.write('{i}'); g.flush()")
        for i, c in enumerate(family):
            assert await c.value("x, open('/work/mark').read(), open('e/f').read()") == f"([1, {i}], '{i}', '{i}2345')"
            assert await c.session.get("mark") == str(i).encode()
        (deep,) = await twins[1].fork("d")
        await cells.session.close()
        await twins[1].session.close()
        assert await deep.value("x") == "[1, 2]"
        stopped = await deep.run("import subprocess; subprocess.Popen(['sleep', '600'])\nwhile True: pass", wall_s=0.5)
        assert stopped.status is Status.TIMEOUT and stopped.restarted
        assert await deep.value("open('mark').read()") == "'2'"
        assert await twins[0].value("x") == "[1, 1]"

    in_session(test)


def test_a_fork_has_files_that_lie_deeper_than_recursion_reaches() -> None:
    async def test(cells: Cells) -> None:
        await cells.value("import os\nfor _ in range(1200): os.mkdir('d'); os.chdir('d')\n_ = open('end', 'w').write('there')")
        (twin,) = await cells.fork("b")
        await cells.value("_ = open('end', 'w').write('changed')")
        assert await twin.value("len(os.getcwd()), open('end').read()") == "(2405, 'there')"

    in_session(test, Limits())


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "2 threads"),
        ("import subprocess; p = subprocess.Popen(['sleep', '60'])", "child processes"),
        ("import os\nif not os.fork():\n    os.setsid()\n    if os.fork(): os._exit(0)\n    import time; time.sleep(60)\nos.wait()", "child processes"),
        ("import socket; s = socket.socket()", "a socket"),
        ("import os; p = os.pipe()", "a pipe"),
        ("import tempfile; f = tempfile.TemporaryFile()", "a deleted file"),
        ("import mmap; m = mmap.mmap(-1, 4096)", "shared memory"),
    ],
)  # fmt: skip
def test_forks_that_are_refused(code: str, why: str) -> None:
    async def test(cells: Cells) -> None:
        await cells.run(code)
        with pytest.raises(ForkRefused, match=why):
            await cells.fork("b")
        assert await cells.value("1") == "1"

    in_session(test)


def test_a_file_that_its_session_holds_does_not_hold_up_who_copies_it() -> None:
    async def test(cells: Cells) -> None:
        await cells.value("import fcntl, os, signal\nsignal.signal(signal.SIGIO, signal.SIG_IGN)\nos.mkfifo('fifo')")
        await cells.value("f = open('f', 'w'); fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)")
        with pytest.raises(ForkRefused, match="BlockingIOError"):
            await cells.fork("b")
        await cells.value("f.close()")
        (twin,) = await cells.fork("c")
        assert await twin.value("sorted(os.listdir())") == "['f', 'fifo']"

    in_session(test)


def test_the_end_of_one_of_many_takes_its_own_processes_and_no_others() -> None:
    async def test(cells: Cells) -> None:
        await cells.value("import os, subprocess")
        twins = await cells.fork("a", "b", "c")
        await twins[0].session.close()
        sleepers = [int(str(await c.value("p = subprocess.Popen(['sleep', '600']); p.pid"))) for c in twins[1:]]
        await twins[1].session.close()
        alive = f"[os.path.exists(f'/proc/{{p}}') or not os.kill(p, 0) for p in {sleepers[1:]}]"
        assert await twins[2].value(f"{alive}, p.poll()") == "([True], None)"
        gone = await cells.run(f"os.kill({sleepers[0]}, 0)")
        assert "ProcessLookupError" in gone.err, gone

    in_session(test)


@pytest.mark.parametrize(("profile", "parent"), [("python", 1), ("math", 0)])
def test_a_fork_is_a_process_like_any_other(profile: str, parent: int) -> None:
    async def test(cells: Cells) -> None:
        await cells.value("import os, signal, subprocess, threading\ngot = []\n_ = signal.signal(10, lambda *_: got.append(1))")
        (twin,) = await cells.fork("b")
        (grandchild,) = await twin.fork("c")
        for each in (cells, twin, grandchild):
            assert await each.value("os.getppid(), threading.get_native_id() == os.getpid()") == f"({parent}, True)"
            assert "ChildProcessError" in (await each.run("os.wait()")).err
            assert await each.value("signal.pthread_kill(threading.main_thread().ident, 10); os.getpid(); got") == "[1]"
            threaded = "t = threading.Thread(target=got.append, args=(2,)); t.start(); t.join(); subprocess.run(['true']).returncode, got"
            assert await each.value(threaded) == "(0, [1, 2])"

        stopped = await grandchild.run("while True: pass", wall_s=0.3)
        assert stopped.restarted and await grandchild.value("import os; os.getppid(), os.getcwd()") == f"({parent}, '/work')"
        assert await twin.value("got") == "[1, 2]"

    in_session(test, profile=profile)


def test_64_branches_of_one_state() -> None:
    async def test(cells: Cells) -> None:
        await cells.value("state = list(range(1000)); open('f', 'w').write('base')")
        twins = await cells.fork(*(f"t{i}" for i in range(64)))
        await asyncio.gather(*(c.value(f"state.append({i}); open('f', 'a').write('{i}')") for i, c in enumerate(twins)))
        for i, c in enumerate(twins):
            assert await c.value("state[-1], len(state), open('f').read()") == f"({i}, 1001, 'base{i}')"
        assert await cells.value("len(state), open('f').read()") == "(1000, 'base')"
        with pytest.raises(ConfigError, match="exists already"):
            await cells.fork("t3")

    in_session(test)


def test_no_forks_without_namespaces() -> None:
    async def test(cells: Cells) -> None:
        with pytest.raises(ForkRefused, match="no namespaces"):
            await cells.fork("b")

    in_session(test, level=Level.LANDLOCK)
