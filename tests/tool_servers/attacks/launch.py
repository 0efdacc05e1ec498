"""Starts arenas from outside, and reads the record of verdicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.tool_servers.attacks.world import token

__all__ = ["GROUPS", "RECORD", "Absent", "Attempt", "attack", "recorded"]

ROOT = Path(__file__).resolve().parents[3]
RECORD = Path(__file__).parent / "verdicts.json"
GROUPS = ("resources", "output", "files", "network", "kernel", "processes", "forgery", "neighbours", "tricks", "sql")
_LONGEST_S = 500


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one attack, and for people why it is so."""

    verdict: str
    """In the record "held or reached" for a race that is not always won."""
    evidence: tuple[str, ...] = ()
    why: str = ""


class Absent(Exception):
    """The sandbox cannot be had on this machine."""


def attack(backend: str, group: str) -> dict[str, Attempt]:
    """One group in a server process of its own, which has a secret in its environment and in its arguments."""
    with tempfile.TemporaryDirectory(prefix="arena-") as folder:
        environment = {**os.environ, "TMPDIR": folder, "TURNWISE_CANARY": token(), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tests.tool_servers.attacks.arena", backend, group, token()]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace", timeout=_LONGEST_S
        )
    assert done.returncode == 0, done.stderr[-1000:]
    found = json.loads(done.stdout.splitlines()[-1])
    if "absent" in found:
        raise Absent(found["absent"])
    return {f["name"]: Attempt(f["verdict"], tuple(f["evidence"])) for f in found}


@cache
def recorded() -> dict[tuple[str, str], dict[str, Attempt]]:
    """(backend, group) -> attack -> verdict, as under version control."""
    return {
        (backend, group): {name: Attempt(a["verdict"], (), a.get("why", "")) for name, a in attacks.items()}
        for backend, groups in json.loads(RECORD.read_text()).items()
        for group, attacks in groups.items()
    }
