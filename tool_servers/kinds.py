"""The four kinds of tool servers: which sandbox runs each, which tools it has, and where it listens by default."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

from turnwise.errors import ConfigError, SandboxFailure, UnknownName
from turnwise.registry import resolve
from turnwise.tool_servers.sandbox.profiles import profile_of
from turnwise.tool_servers.sandbox.protocol import Level, Sandbox
from turnwise.tool_servers.service import Service

__all__ = ["KINDS", "Kind", "opened", "search_sandbox", "worker_tools"]

_ROOM = "turnwise.tool_servers"
_BACKENDS = {"embedded": f"{_ROOM}.sandbox.embedded:EmbeddedSandbox", "docker": f"{_ROOM}.sandbox.docker:DockerSandbox"}
_DOCKER_CANARY_S = 5.0
"""A container that no pool has ready takes a second or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of server."""

    name: str
    help: str
    port: int
    canary: tuple[str, Mapping[str, Any]]
    profiles: tuple[str, ...]
    """The first is the default."""
    backends: Mapping[str, str] = field(default_factory=lambda: dict(_BACKENDS))
    """Name -> module:what makes the sandbox. The first is the default."""
    runs_code: bool = True
    """Whether sessions run what a model wrote, in processes of their own that use their memory limit."""


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="python",
            help="run Python in persistent sessions: variables and files stay from call to call",
            port=8701,
            canary=("python", {"code": "print(6 * 7)"}),
            profiles=("python", "math", "science"),
        ),
        Kind(
            name="sql",
            help="query a SQLite or DuckDB database; only reading, unless a session says otherwise",
            port=8702,
            canary=("query", {"sql": "select 6 * 7"}),
            profiles=("sql", "duckdb"),
        ),
        Kind(
            name="search",
            help="search a folder or JSONL file of texts, ranked by BM25",
            port=8703,
            canary=("search", {"query": "the"}),
            profiles=("search",),
            backends={"search": f"{__name__}:search_sandbox"},
            runs_code=False,
        ),
        Kind(
            name="browser",
            help="use web pages in Chromium; without any network, unless a session says otherwise",
            port=8704,
            canary=("observe", {}),
            profiles=("browser",),
            backends={"browser": f"{_ROOM}.browser.sandbox:BrowserSandbox"},
        ),
    )
}


@asynccontextmanager
async def opened(
    kind: Kind,
    *,
    profiles: Sequence[str] = (),
    backend: str = "",
    needs: Level = Level.LANDLOCK,
    options: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AsyncGenerator[Service]:
    """The sandbox of a kind, entered. Raises SandboxFailure if its isolation is weaker than `needs`.

    `options` go to what makes the sandbox, `settings` to sessions that are opened without saying how (over MCP).
    """
    name = backend or next(iter(kind.backends))
    if name not in kind.backends:
        raise UnknownName(f"backend of {kind.name} servers", name, kind.backends)
    chosen = profiles or kind.profiles[:1]
    for profile in chosen:
        if profile not in kind.profiles:
            raise UnknownName(f"profile of {kind.name} servers", profile, kind.profiles)
    own: dict[str, Any] = {
        "embedded": {"profiles": chosen, "needs": needs},
        "docker": {"needs": max(needs, Level.DOCKER)},
    }.get(name, {})
    maker: Any = resolve("", kind.backends[name])
    known = signature(maker).parameters
    for option in options or {}:
        if option not in known or option in own:
            raise UnknownName(f"option of {name}", option, set(known) - set(own))
    async with maker(**own, **(options or {})) as sandbox:
        if kind.runs_code and sandbox.level < needs:
            raise SandboxFailure("isolation", f"{name} reaches {sandbox.level.name.lower()} here, {needs.name.lower()} is needed")
        yield Service(
            kind=kind.name,
            sandbox=sandbox,
            tools={profile: getattr(sandbox, "tools", None) or worker_tools(profile_of(profile).worker) for profile in chosen},
            canary=kind.canary,
            canary_s=_DOCKER_CANARY_S if name == "docker" else 1.0,
            counts_memory=kind.runs_code,
            settings=settings or {},
        )


@asynccontextmanager
async def search_sandbox(corpus: str, cache: str = "", engine: str = "auto") -> AsyncGenerator[Sandbox]:
    """A search over the index of a corpus; `cache` is where indices are kept (default: ~/.cache/turnwise/search)."""
    open_index: Any = resolve("", f"{_ROOM}.search.index:open_index")
    index = await asyncio.to_thread(open_index, corpus, cache or None, engine=engine)
    try:
        async with resolve("", f"{_ROOM}.search.sandbox:SearchSandbox")(index) as sandbox:
            yield sandbox
    finally:
        index.close()


def worker_tools(file: Path) -> Sequence[Mapping[str, Any]]:
    """`Worker.tools` of a worker file: the one place where a tool's schema is written down."""
    spec = importlib.util.spec_from_file_location(f"turnwise_worker_{file.parent.name}", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ConfigError(f"worker {file}: there is no such file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Worker.tools
