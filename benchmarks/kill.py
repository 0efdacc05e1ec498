"""SIGKILL of a server, a client, a zygote or a supervisor at random moments: how long is something of it left?

    python benchmarks/kill.py [--backend namespaces] [--sessions 200] [--moments 20] [--out benchmarks/results/kill.json]

Left is: a process, a control group, a mount, a temporary file, a container. A quarter of the sessions hold a daemon that ignores
every signal and has forgotten its parents; all others are in the middle of calls. After a server, everything has to go (also
after a zygote and then its server: sessions outlive their zygote); after a supervisor, its session; after a client of a tool
server, its sessions (the server gives a client that lost its connection a second to come back).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.tool_servers.attacks.backends import BACKENDS
from tests.tool_servers.attacks.killing import (
    containers_of,
    kill,
    lives,
    owner,
    program,
    reaping,
    supervisors_of,
    tree,
    until_nothing,
)
from turnwise.tool_servers.guest.plan import Plan

VICTIMS = ("server", "client", "zygote", "supervisor")
PATIENCE_S = 30.0


def until_gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them end in time; those that have ended may wait to be buried."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if not any(lives(p) for p in processes):
            return True
        time.sleep(0.01)
    return False


def groups_of(server: int, cgroup: str) -> list[Path]:
    """Folders of a session's control group, from what /proc says of a process in it."""
    names = {Path(line).name for line in cgroup.splitlines() if f"turnwise-{server}-" in line}
    mark = f"turnwise-{server}-"
    return [Path(root, n) for root, folders, _ in os.walk("/sys/fs/cgroup") if mark in root for n in folders if n in names]


def session_of(server: psutil.Process, supervisor: psutil.Process) -> list[psutil.Process]:
    """The processes that a supervisor has: below it, or told by their user, which is made of its number."""
    user = Plan("", "", 0).first_user + supervisor.pid
    return [p for p in tree(server) if p.uids().real == user] or tree(supervisor)


def of_client(sessions: int, folder: Path, chance: random.Random) -> tuple[float, bool]:
    with program("serve", 0, folder) as (server, address):
        own = {p.pid for p in tree(server)}
        with owner(address, sessions, folder) as client:
            time.sleep(chance.random())
            below = [p for p in tree(server) if p.pid not in own]
            client.kill()
            began = time.monotonic()
            gone = until_gone(below)
            return time.monotonic() - began if gone else PATIENCE_S, len(below) >= 2 * sessions


def of_supervisor(backend: str, sessions: int, folder: Path, chance: random.Random) -> tuple[float, bool]:
    """Until what was below it is gone, and its control group."""
    with owner(backend, sessions, folder) as server:
        time.sleep(chance.random())
        ended_with = {s: found for s in supervisors_of(server) if (found := session_of(server, s))}
        supervisor = chance.choice(list(ended_with))
        below = ended_with[supervisor]
        group = groups_of(server.pid, Path(f"/proc/{below[0].pid}/cgroup").read_text())
        supervisor.kill()
        began = time.monotonic()
        gone = until_gone(below)
        while any(path.exists() for path in group) and time.monotonic() < began + PATIENCE_S:
            time.sleep(0.01)
        return time.monotonic() - began if gone else PATIENCE_S, bool(below and group)


def of_server(backend: str, sessions: int, folder: Path, chance: random.Random, *, zygote: bool) -> tuple[float, bool]:
    """Until nothing is left. `zygote`: it dies first, and its sessions go on until the server dies as well."""
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    containers = BACKENDS[backend].containers
    with owner(backend, sessions, folder) as server:
        enough = len(containers_of(server.pid)) >= sessions if containers else len(tree(server)) >= 2 * sessions
        time.sleep(chance.random())
        if zygote:
            kill(server.children())
            time.sleep(chance.random() / 2)
        server.kill()
        began = time.monotonic()
        left = until_nothing(before, server.pid, folder, containers, PATIENCE_S)
        return PATIENCE_S if left else time.monotonic() - began, enough


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=["namespaces", "landlock", "docker"], default="namespaces")
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--victims", nargs="*", choices=VICTIMS, default=VICTIMS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/kill.json")
    chosen = parser.parse_args()
    chance = random.Random(chosen.seed)
    moments: list[dict[str, object]] = []
    with reaping():
        for number in range(chosen.moments):
            victim = chosen.victims[number % len(chosen.victims)]
            with tempfile.TemporaryDirectory(prefix="turnwise-kill-", dir="/tmp") as name:
                folder = Path(name)
                if victim == "client":
                    took, enough = of_client(chosen.sessions, folder, chance)
                elif victim == "supervisor":
                    took, enough = of_supervisor(chosen.backend, chosen.sessions, folder, chance)
                else:
                    took, enough = of_server(chosen.backend, chosen.sessions, folder, chance, zygote=victim == "zygote")
            assert enough, f"{victim}: the sessions were not there"
            moments.append({"victim": victim, "gone_s": round(took, 2), "load": round(os.getloadavg()[0], 1)})
            print(moments[-1], flush=True)
    machine = {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}
    run = {"sessions": chosen.sessions, "moments": moments, "worst_s": max(float(str(m["gone_s"])) for m in moments)}
    known = json.loads(chosen.out.read_text())["runs"] if chosen.out.exists() else {}
    chosen.out.write_text(json.dumps({"machine": machine, "runs": {**known, chosen.backend: run}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
