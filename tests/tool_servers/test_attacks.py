"""Every attack on every sandbox of this machine, held against `attacks/verdicts.json`; any change of a verdict fails.

The short form leaves out slow pairs of backend and group; TURNWISE_FULL=1 runs all.
New verdicts: `python docs/make_attacks.py --run`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tool_servers.attacks.backends import BACKENDS
from tests.tool_servers.attacks.launch import GROUPS, Absent, Attempt, attack, recorded
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import SessionSpec, Status

ROOT = Path(__file__).parents[2]
FULL = os.environ.get("TURNWISE_FULL") == "1"
QUICK = {
    "none": ("network",),
    "landlock": ("files", "processes"),
    "namespaces": GROUPS,
    "http": ("forgery",),
    "bubblewrap": ("network",),
    "docker": ("network",),
    "gvisor": (),
}
"""What the short form runs."""
PAIRS = [(b, g) for b in BACKENDS for g in (GROUPS if FULL else QUICK[b]) if (b, g) in recorded()]


@pytest.mark.parametrize(("backend", "group"), PAIRS, ids=lambda word: word)
def test_verdicts(backend: str, group: str) -> None:
    if why := BACKENDS[backend].lacks():
        pytest.skip(why)
    expected = recorded()[backend, group]
    try:
        found = attack(backend, group)
    except Absent as why:
        pytest.skip(str(why))
    changed = [
        f"{name}: {expected.get(name, Attempt('no record')).verdict} -> {now.verdict}: {'; '.join(now.evidence)[:400]}"
        for name, now in found.items()
        if now.verdict not in expected.get(name, Attempt("no record")).verdict.split(" or ")
    ]
    assert not changed, "\n".join(changed)
    assert set(found) == set(expected), "attacks came or went: python docs/make_attacks.py --run"


def test_the_page_is_generated() -> None:
    done = subprocess.run([sys.executable, "docs/make_attacks.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_not_held_has_a_reason() -> None:
    """An attack that gets through a sandbox is written down with why, or it is a bug."""
    open_ = [
        f"{backend}: {name}"
        for (backend, _), attempts in recorded().items()
        for name, a in attempts.items()
        if backend != "none" and a.verdict != "held" and not a.why
    ]
    assert not open_, open_


def test_without_a_sandbox_the_attacks_work() -> None:
    """The judges can see: where nothing holds an attack, most are seen to get through; the rest say why they cannot."""
    plain = {name: a for (backend, _), attempts in recorded().items() if backend == "none" for name, a in attempts.items()}
    silent = [name for name, a in plain.items() if a.verdict == "held" and not a.why and name != "nothing is left"]
    assert not silent and sum(a.verdict == "reached" for a in plain.values()) > 40


@pytest.mark.parametrize("stream", ["out", "err"])
def test_output_is_cut_exactly(stream: str) -> None:
    """0 bytes, around the limit, 10 MB: what is kept, to the byte."""
    most = 64 * 1024
    sizes = (0, 1, most - 1, most, most + 1, 10_000_000)

    async def run() -> None:
        async with EmbeddedSandbox() as sandbox:
            session = await sandbox.open(SessionSpec("cut", limits=Limits(output_kb=64)))
            for seq, size in enumerate(sizes, 1):
                code = f"import sys\nn = {size}\nsys.std{stream}.write('a' * (n // 2) + 'b' * (n - n // 2))\nNone"
                result = await session.call(seq, "python", {"code": code})
                text = getattr(result, stream)
                assert result.status is Status.OK and result.truncated == (size > most)
                assert (text.count("a"), text.count("b")) >= (min(size, most) // 2, min(size, most) // 2), size
                if size <= most:
                    assert text == "a" * (size // 2) + "b" * (size - size // 2)
                else:
                    assert text.startswith("a" * (most // 2) + "\n[") and text.endswith("]\n" + "b" * (most // 2))
                    assert f" {size - most} " in text[most // 2 : most // 2 + 60]

    asyncio.run(run())


def test_branches_are_isolated() -> None:
    """64 forks of one state: each has its own variables and files, and the original keeps its own."""
    count = 64

    async def run() -> None:
        async with EmbeddedSandbox() as sandbox:
            first = await sandbox.open(SessionSpec("root", limits=Limits(processes=8, memory_mb=512), files={"f": b"root"}))
            await first.call(1, "python", {"code": "x = ['root']\nopen('/tmp/t', 'w').write('root')"})
            branches = await first.fork([f"b{i}" for i in range(count)])
            write = "x.append({0})\nopen('f', 'a').write('{0}'); open('/tmp/t', 'a').write('{0}'); open('own{0}', 'w').close()"
            await asyncio.gather(*(b.call(2, "python", {"code": write.format(i)}) for i, b in enumerate(branches)))
            read = "import os\nprint(x, open('f').read(), open('/tmp/t').read(), sorted(os.listdir('.')))"
            seen = await asyncio.gather(*(b.call(3, "python", {"code": read}) for b in branches))
            for i, result in enumerate(seen):
                assert result.out.strip() == f"['root', {i}] root{i} root{i} ['f', 'own{i}']", result
            own = await first.call(2, "python", {"code": read})
            assert own.out.strip() == "['root'] root root ['f']"
            for branch in branches[::2]:
                await branch.close()
            assert (await branches[1].call(4, "python", {"code": "print(x)"})).out == "['root', 1]\n"

    asyncio.run(run())


def test_verdicts_are_json_that_people_can_read() -> None:
    text = (ROOT / "tests/tool_servers/attacks/verdicts.json").read_text()
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n"
