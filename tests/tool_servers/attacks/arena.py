"""One group of attacks on one backend, in a process that is the server: `python arena.py BACKEND GROUP SECRET`.

It was started with a secret in its environment and one in its arguments. Its verdicts go to standard output as JSON. It is the
reaper of every process below it, so that what is left over cannot hide.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import re
import sys
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psutil

from tests.tool_servers.attacks import files, forgery, kernel, neighbours, network, output, processes, resources, tricks
from tests.tool_servers.attacks.backends import BACKENDS, Backend, container_ids, inside
from tests.tool_servers.attacks.judges import JUDGES, Case
from tests.tool_servers.attacks.neighbours import VICTIM
from tests.tool_servers.attacks.record import Attack, Finding, Verdict
from tests.tool_servers.attacks.sql import SCRIPT, STATEMENTS, Statement
from tests.tool_servers.attacks.traces import traces
from tests.tool_servers.attacks.world import World, token, world
from turnwise.errors import ConfigError, InfraError, Unsupported
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import Sandbox, Session, SessionSpec, Status, ToolResult

__all__ = ["GROUPS", "main", "prepare"]

GROUPS: dict[str, tuple[Attack, ...]] = {
    m.__name__.rpartition(".")[2]: m.ATTACKS
    for m in (resources, output, files, network, kernel, processes, forgery, neighbours, tricks)
}
_MISTAKE = re.compile(r"^(NameError|SyntaxError|IndentationError|UnboundLocalError|AttributeError|TypeError|KeyError): .*", re.M)
"""What our own slips in the code of an attack look like: they must not pass for a wall."""
_KIT = (Path(__file__).parent / "kit.py").read_text()
_SUBREAPER = 36
_PATIENCE_S = 40.0
_MOST_GROWTH_MB = 80
"""Of the server, by one attack."""


def prepare(code: str, targets: Mapping[str, object]) -> str:
    """What is run: the tools, the targets, the attack."""
    return f"{_KIT}\nT = {targets!r}\n{code}\n"


def below() -> set[int]:
    """Every process that comes from this one and has not ended."""
    found: set[int] = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                found.add(child.pid)
    return found


@dataclass
class Watch:
    """The most processes and memory of a session, seen from outside while an attack runs."""

    before: set[int]
    containers: list[str]
    processes: int = 0
    memory_mb: float = 0.0
    _done: asyncio.Event = field(default_factory=asyncio.Event)

    def now(self) -> set[int]:
        return (inside(self.containers) if self.containers else below()) - self.before

    async def run(self) -> None:
        while not self._done.is_set():
            pids = await asyncio.to_thread(self.now)
            self.processes = max(self.processes, len(pids))
            self.memory_mb = max(self.memory_mb, await asyncio.to_thread(_memory_mb, pids))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._done.wait(), 0.05)

    @classmethod
    @asynccontextmanager
    async def over(cls, before: set[int], containers: list[str]) -> AsyncGenerator[Watch, None]:
        watch = cls(before, containers)
        task = asyncio.create_task(watch.run())
        try:
            yield watch
        finally:
            watch._done.set()
            await task


def _memory_mb(pids: Iterable[int]) -> float:
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


class Arena:
    """A sandbox under attack, an honest neighbour in it, and the world around."""

    def __init__(self, backend: Backend, sandbox: Sandbox, outside: World) -> None:
        self.backend, self.sandbox, self.world = backend, sandbox, outside
        self.targets = {**outside.targets, "plain": backend.plain, "shared": backend.shared_pids}
        self.number = 0
        self.honest: Session | None = None
        self.honest_calls = 0

    async def open(self, attack: Attack) -> Session:
        self.number += 1
        return await self.sandbox.open(SessionSpec(f"a{self.number}", limits=attack.limits))

    async def fight(self, attacks: Sequence[Attack]) -> list[Finding]:
        """One after the other; those that leave a session whole share one."""
        findings: list[Finding] = []
        shared: Session | None = None
        shared_seq = 0
        self.honest = await self.sandbox.open(SessionSpec("honest"))
        if any(attack.after.startswith("neighbour") for attack in attacks) and not self.backend.one_shot:
            await self.settle()
        for attack in attacks:
            if self.backend.plain and attack.dangerous:
                findings.append(Finding(attack.name, Verdict.SKIPPED))
                continue
            alone = attack.alone or self.backend.one_shot
            before = below()
            if alone or shared is None:
                session, seq = await self.open(attack), 1
            else:
                session, seq = shared, shared_seq + 1
            finding, seq = await self.one(attack, session, seq, before)
            if alone or finding.status not in ("ok", "error"):
                finding = await self.buried(finding, session, before)
                shared = shared if alone else None
            else:
                shared, shared_seq = session, seq
            findings.append(finding)
            sys.stderr.write(f"{finding.verdict:8} {finding.status:8} {attack.name}: {'; '.join(finding.evidence)[:300]}\n")
            sys.stderr.write(f"    {finding.said}\n" if finding.status == "error" else "")
        for session in (shared, self.honest, self.world.neighbour):
            if session is not None:
                await session.close()
        return findings

    async def settle(self) -> None:
        """The neighbour that is attacked: what it holds, and the numbers of its processes on the host."""
        self.world.secrets["the neighbour"] = secret = token()
        before = below()
        self.world.neighbour = await self.sandbox.open(SessionSpec("neighbour", files={"secret.txt": b""}))
        settled = await self.world.ask_neighbour(VICTIM.replace("HOLD", repr(secret)))
        assert settled.status is Status.OK, settled
        ids = below() - before if not self.backend.containers else inside(container_ids())
        self.world.targets["neighbours"] = sorted(ids)

    async def one(self, attack: Attack, session: Session, seq: int, before: set[int]) -> tuple[Finding, int]:
        """Make one attack and judge it."""
        targets = {**self.targets, **self.world.targets, "limits": asdict(attack.limits)}
        grown = psutil.Process().memory_info().rss
        containers = container_ids() if self.backend.containers else []
        code = prepare(attack.code, targets)
        broke: list[str] = []
        evidence: list[str] = []
        status = said = ""
        async with Watch.over(before, containers) as watch:
            try:
                result = await asyncio.wait_for(session.call(seq, "python", {"code": code}, wall_s=attack.wall_s), _PATIENCE_S)
                status, said = str(result.status), result.err[-200:]
                evidence += self.confessions(attack, result)
                if not self.backend.one_shot and result.seq not in (0, seq):
                    evidence.append(f"call {seq} was answered as {result.seq}")
                if attack.after and not self.backend.one_shot:
                    case = Case(self.world, session, seq, result)
                    evidence += await asyncio.wait_for(JUDGES[attack.after](case), 4 * _PATIENCE_S)
                    seq = case.seq
            except TimeoutError:
                broke.append(f"the call did not end in {_PATIENCE_S:g} s")
            except (InfraError, ConfigError, OSError) as failure:  # the latter two would be the caller's faults, and he made none
                broke.append(f"the sandbox failed: {failure!r}")
        grown = (psutil.Process().memory_info().rss - grown) >> 20
        if grown > _MOST_GROWTH_MB and not self.backend.plain:
            evidence.append(f"the server grew by {grown} MB")
        if watch.memory_mb > attack.most_memory_mb:
            evidence.append(f"{watch.memory_mb:.0f} MB at one time")
        if watch.processes > attack.most_processes + 2 * len(containers):
            evidence.append(f"{watch.processes} processes at one time")
        await asyncio.sleep(0.02)  # for a connection that was made is seen by the next turn of the loop
        evidence += self.world.reached()
        broke += await self.neighbour()
        verdict = Verdict.REACHED if evidence else Verdict.BROKE if broke else Verdict.HELD
        return Finding(attack.name, verdict, tuple(dict.fromkeys((*evidence, *broke))), status, said), seq

    def confessions(self, attack: Attack, result: ToolResult) -> list[str]:
        """What the code itself says, secrets in what it says, and how it ended."""
        said = f"{result.out}\n{result.err}\n{json.dumps(result.value, default=repr)}"
        found = self.world.leaks(said)
        if not (attack.kernel and self.backend.own_kernel):
            found += [line[:150] for line in result.out.splitlines() if line.startswith("REACHED")][:5]
        found += [f"wrote {p} of the host" for p in _written(result.out, str(self.world.targets["marker"]))]
        mistake = _MISTAKE.search(result.err)
        if mistake and attack.after != "goes_on":
            found.append(f"the attack itself is wrong: {mistake[0]}")
        if not self.fine(attack, result.status):
            found.append(f"it ended as {result.status}: {result.err[-150:]!r}")
        return found

    def fine(self, attack: Attack, status: Status) -> bool:
        """A program of its own may end as it likes, as long as it ends, and so may a child that nothing holds."""
        endless = set(attack.statuses) <= {Status.TIMEOUT, Status.OUTPUT}
        return status in attack.statuses or self.backend.plain or (self.backend.one_shot and not endless)

    async def neighbour(self) -> list[str]:
        """The honest session beside it still counts right."""
        assert self.honest is not None
        self.honest_calls += 1
        code = "n = globals().get('n', 0) + 1\nprint(n)"
        expected = "1" if self.backend.one_shot else str(self.honest_calls)
        try:
            result = await asyncio.wait_for(self.honest.call(self.honest_calls, "python", {"code": code}), _PATIENCE_S)
        except (InfraError, TimeoutError) as failure:
            return [f"the honest neighbour failed: {failure!r}"]
        fine = result.status is Status.OK and result.out.strip() == expected
        return [] if fine else [f"the honest neighbour got {result.status}, {result.out[:50]!r}, {result.err[-100:]!r}"]

    async def buried(self, finding: Finding, session: Session, before: set[int]) -> Finding:
        """Close the session; nothing of it is left two seconds later."""
        containers = container_ids() if self.backend.containers else []
        try:
            await asyncio.wait_for(session.close(), _PATIENCE_S)
        except (InfraError, TimeoutError) as failure:
            broken = f"closing failed: {failure!r}"
            return replace(finding, verdict=max(finding.verdict, Verdict.BROKE), evidence=(*finding.evidence, broken))
        victims = set(self.world.targets["victims"])
        until = time.monotonic() + 4
        left = below() - before - victims
        while left and time.monotonic() < until:
            await asyncio.sleep(0.05)
            left = below() - before - victims
        del containers
        if not left:
            return finding
        names = [" ".join(psutil.Process(p).cmdline())[:60] for p in left if psutil.pid_exists(p)]
        for pid in left:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
        evidence = (*finding.evidence, f"{len(left)} processes were left: {names[:3]}")
        return replace(finding, verdict=Verdict.REACHED, evidence=evidence)


def _written(out: str, marker: str) -> list[str]:
    """Files of the host among those that the code says it wrote."""
    found: list[str] = []
    for line in out.splitlines():
        path = Path(line.removeprefix("wrote "))
        if line.startswith("wrote ") and path.name == marker and path.exists():
            path.unlink()
            found.append(str(path))
    return found


async def fight(backend: Backend, group: str) -> list[Finding]:
    if group == "sql":
        return await statements(backend)
    async with world() as outside, backend.open() as sandbox:
        return await Arena(backend, sandbox, outside).fight(GROUPS[group])


async def statements(backend: Backend) -> list[Finding]:
    """Every SQL attack, in one session for each engine and mode."""
    if backend.one_shot or backend.name == "http":
        return []
    findings: list[Finding] = []
    async with world() as outside, backend.open() as sandbox:
        for engine, writable in (("sqlite", False), ("sqlite", True), ("duckdb", False)):
            if engine == "duckdb" and backend.containers:
                continue
            chosen = [s for s in STATEMENTS if (s.engine, s.writable) == (engine, writable)]
            settings = {"engine": engine, "mode": "writable" if writable else "read-only", "script": SCRIPT, "query_s": 1.0}
            profile = "duckdb" if engine == "duckdb" else "sql"
            spec = SessionSpec(f"{engine}{writable}", profile, Limits(wall_s=4, memory_mb=512, calls=1000), settings=settings)
            try:
                session = await sandbox.open(spec)
            except InfraError as failure:
                findings += [Finding(s.name, Verdict.SKIPPED, (str(failure)[:200],)) for s in chosen]
                continue
            for number, statement in enumerate(chosen):
                findings.append(await _statement(outside, session, 2 * number + 1, statement))
            await session.close()
    return findings


async def _statement(outside: World, session: Session, seq: int, statement: Statement) -> Finding:
    """The statement, and then what a right query finds."""
    sql = statement.sql.replace("MARKER", str(outside.targets["marker"]))
    evidence: list[str] = []
    broke: list[str] = []
    status = ""
    try:
        result = await asyncio.wait_for(session.call(seq, "query", {"sql": sql}), _PATIENCE_S)
        status = str(result.status)
        said = f"{result.out}{result.err}{json.dumps(result.value)}"
        evidence += outside.leaks(said)
        if "root:x:0" in said:
            evidence.append("it read a system file")
        if result.usage.peak_mb > 600:
            evidence.append(f"{result.usage.peak_mb:.0f} MB")
        check = await asyncio.wait_for(session.call(seq + 1, "query", {"sql": "SELECT count(*), sum(pay) FROM emp"}), _PATIENCE_S)
        if check.status is not Status.OK or [int(n) for n in check.value["rows"][0]] != [50, 12750]:
            evidence.append(f"afterwards: {check.status}, {check.value}, {check.err[-200:]}")
    except (InfraError, TimeoutError) as failure:
        broke.append(f"the sandbox failed: {failure!r}")
    evidence += outside.reached()
    evidence += [f"a file was made: {p}" for p in Path("/tmp").glob(f"{outside.targets['marker']}*")]
    verdict = Verdict.REACHED if evidence else Verdict.BROKE if broke else Verdict.HELD
    sys.stderr.write(f"{verdict:8} {status:8} {statement.name}: {'; '.join((*evidence, *broke))[:300]}\n")
    return Finding(statement.name, verdict, (*evidence, *broke), status)


def main(arguments: list[str]) -> int:
    """Print the verdicts; what is left of us afterwards is one more finding."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    backend = BACKENDS[arguments[0]]
    try:
        findings = asyncio.run(fight(backend, arguments[1]))
    except Unsupported as reason:
        print(json.dumps({"absent": str(reason)}))
        return 0
    findings.append(_rest())
    print(json.dumps([asdict(f) for f in findings]))
    return 0


def _rest() -> Finding:
    """Processes, control groups, mounts and temporary files of ours when everything is closed."""
    until = time.monotonic() + 3
    while (found := _left()) and time.monotonic() < until:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.05)
    return Finding("nothing is left", Verdict.REACHED if found else Verdict.HELD, tuple(found), "")


def _left() -> list[str]:
    return [f"process {pid}" for pid in below()] + traces(os.getpid(), Path(os.environ["TMPDIR"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
