"""Our MCP server under the official conformance scenarios that apply to it, in both eras of the protocol.

    python benchmarks/mcp_conformance.py [--out benchmarks/results/mcp_conformance.json]

Needs npm, which fetches the suite (@modelcontextprotocol/conformance) and the Node.js it wants, by name and version, into a
folder of the cache. Left out are the scenarios of what we do not offer: protocol sessions, prompts, resources, completion,
logging, sampling, elicitation, progress, tasks, audio and embedded resources. The tools that scenarios call by name run in a real
sandbox (conformance_worker.py). Exit code 1 if a check fails, except those of NOT_OFFERED.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from turnwise.tool_servers.app import Door
from turnwise.tool_servers.kinds import worker_tools
from turnwise.tool_servers.sandbox.embedded import EmbeddedSandbox
from turnwise.tool_servers.sandbox.profiles import PROFILES, Profile
from turnwise.tool_servers.serve import Listen, served
from turnwise.tool_servers.service import Service

SUITE, NODE = "@modelcontextprotocol/conformance@0.2.0-alpha.12", "node@22"
WORKER = Path(__file__).with_name("conformance_worker.py")
SCENARIOS = {
    "2025-11-25": (
        "server-initialize",
        "ping",
        "tools-list",
        "tools-call-simple-text",
        "tools-call-error",
        "tools-call-image",
        "json-schema-2020-12",
        "dns-rebinding-protection",
    ),
    "2026-07-28": (
        "server-stateless",
        "tools-list",
        "tools-call-simple-text",
        "tools-call-error",
        "tools-call-image",
        "json-schema-2020-12",
        "dns-rebinding-protection",
        "caching",
        "http-header-validation",
        "http-custom-header-server-validation",
        "server-sse-multiple-streams",
        "input-required-result-unsupported-methods",
    ),
}
NOT_OFFERED = {
    "sep-2575-server-rejects-undeclared-capability": "no tool of ours needs a capability of the client",
    "sep-2575-missing-capability-http-400": "no tool of ours needs a capability of the client",
    "sep-2575-http-server-no-independent-requests-on-stream": "no tool of ours asks the client",
    "sep-2575-server-no-log-without-loglevel": "no tool of ours logs to the client",
    "sep-2549-prompts-list-caching-hints": "no prompts",
    "sep-2549-resources-list-caching-hints": "no resources",
    "sep-2549-resources-templates-list-caching-hints": "no resources",
}
"""Checks that fail because they need a feature that we do not have."""


def installed() -> list[str]:
    """The command that runs the suite, fetched if it is not there."""
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is needed to fetch the conformance suite; install Node.js.")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "turnwise" / "mcp-conformance"
    home.mkdir(parents=True, exist_ok=True)
    script = home / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
    if not script.exists():
        subprocess.run([npm, "install", "--no-audit", "--no-fund", SUITE, NODE], cwd=home, check=True, stdout=sys.stderr)
    return [str(home / "node_modules/.bin/node"), str(script), "server"]


async def checks(command: list[str], url: str, version: str, scenario: str) -> list[dict[str, Any]]:
    """What the suite says of one scenario."""
    process = await asyncio.create_subprocess_exec(
        *command,
        "--url",
        url,
        "--spec-version",
        version,
        "--scenario",
        scenario,
        "--verbose",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    text = out.decode()
    if "[" not in text:
        return [{"id": scenario, "status": "FAILURE", "errorMessage": (text + err.decode())[-500:]}]
    return json.JSONDecoder().raw_decode(text[text.index("[") :])[0]


async def main(out: Path) -> int:
    command = installed()
    PROFILES["conformance"] = Profile("conformance", WORKER)
    table: dict[str, dict[str, Any]] = {}
    broken = 0
    async with EmbeddedSandbox(profiles=["conformance"]) as sandbox:
        service = Service(
            kind="conformance", sandbox=sandbox, tools={"conformance": worker_tools(WORKER)}, canary=("test_simple_text", {})
        )
        async with served(service, Listen(), Door()) as address:
            for version, scenarios in SCENARIOS.items():
                for scenario in scenarios:
                    found = await checks(command, f"{address}/mcp", version, scenario)
                    wrong = {c["id"]: c.get("errorMessage", "") for c in found if c["status"] in ("FAILURE", "WARNING")}
                    excused = {id: NOT_OFFERED[id] for id in wrong if id in NOT_OFFERED}
                    failed = {id: why for id, why in wrong.items() if id not in NOT_OFFERED}
                    broken += len(failed)
                    count = Counter(c["status"].lower() for c in found)
                    table[f"{version} {scenario}"] = {"passed": count["success"], "not_offered": excused, "failed": failed}
                    print(
                        f"{version}  {scenario:44}{count['success']:3} passed{len(excused):3} not offered{len(failed):3} failed"
                    )
                    for id, why in (excused | failed).items():
                        print(f"    {id}: {why}")
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps({"suite": SUITE, "scenarios": table}, indent=1) + "\n")
    return 1 if broken else 0


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "mcp_conformance.json")
    sys.exit(asyncio.run(main(options.parse_args().out)))
