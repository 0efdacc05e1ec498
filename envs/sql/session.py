"""The database of an episode: a read-only session in a sandbox, opened at the first query, forked and closed with the episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from turnwise.envs.episode_session import LEASE_S, EpisodeSession, failing, new_id
from turnwise.envs.sandboxes import level_named, shared_sandbox
from turnwise.envs.sql.worlds import Engine, World
from turnwise.errors import ConfigError
from turnwise.tool_servers.sandbox.blocking import BlockingSession
from turnwise.tool_servers.sandbox.limits import Limits
from turnwise.tool_servers.sandbox.protocol import ForkRefused, Level, SessionSpec, Status, ToolResult
from turnwise.tool_servers.sandbox.shared import SHARED
from turnwise.tool_servers.sql.grader import CAPS as GRADING
from turnwise.tool_servers.sql.worker import Caps, QueryError, Sqlite, collect

__all__ = ["IN_PROCESS", "SqlSession"]

IN_PROCESS = "process"
"""In place of a sandbox level: the same guarded connection in this process, several times as quick, for text that is trusted."""

_FILE = "data.sqlite"


class SqlSession(EpisodeSession["BlockingSession | _InProcess"]):
    """Queries on one database after the other. Nothing in a session can change, so a deep copy may also be opened anew."""

    def __init__(self, *, engine: Engine, needs: str, query_s: float) -> None:
        self.engine, self.needs = engine, None if needs == IN_PROCESS else level_named(needs)
        if self.needs is None and engine != "sqlite":
            raise ConfigError(f"SQL: only SQLite is guarded well enough for needs={needs!r}; ask for a sandbox level.")
        self.looking = Caps(max_rows=200, max_kb=64, query_s=query_s, count_rows=10_000)
        self.grading = replace(GRADING, query_s=query_s)
        self._world: Callable[[], World] | None = None

    def restart(self, world: Callable[[], World]) -> None:
        """A new episode; `world` makes its database when the first query needs it."""
        self.close()
        self._world = world

    def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        """A tool of the worker. Raises EnvFailure if the sandbox broke."""
        with failing():
            if self._session is None:
                assert self._world is not None, "restart() comes first"
                self._session = self._opened(self._world(), self.looking)
            return self._session.call(tool, arguments)

    def alone(self, world: World, sql: str) -> Mapping[str, Any] | str:
        """The whole result of a query on a database in a session that nobody has used, or why it has none."""
        with failing():
            session = self._opened(world, self.grading)
            try:
                result = session.call("query", {"sql": sql})
            finally:
                session.close()
        if result.status is Status.OK:
            return result.value
        return result.err if result.status is Status.ERROR else f"{result.status}: {result.err}"

    def _opened(self, world: World, caps: Caps) -> BlockingSession | _InProcess:
        content, needs = world.content, self.needs
        if needs is None:
            assert not isinstance(content, str), "an SQLite file"
            return _InProcess(content, caps)
        if isinstance(content, Path) and needs < Level.NAMESPACES:
            content = content.read_bytes()
        files, settings, data = dict[str, bytes](), asdict(caps) | {"engine": self.engine}, ""
        if isinstance(content, Path):
            data, settings["database"] = str(content.parents[1]), f"{SHARED}/data/{content.parent.name}/{content.name}"
        elif isinstance(content, bytes):
            files[_FILE], settings["database"] = content, _FILE
        else:
            settings["script"] = content
        disk_mb = 64 + 2 * (len(files.get(_FILE, b"")) >> 20)
        limits = Limits(wall_s=caps.query_s + 10, calls=100_000, value_kb=2 * caps.max_kb, disk_mb=disk_mb)
        profile, asked = ("duckdb" if self.engine == "duckdb" else "sql"), (("data",) if data else ())
        spec = SessionSpec(new_id(), profile, limits, files, lease_s=LEASE_S, settings=settings, shared=asked)
        return shared_sandbox(needs, data).open(spec)


class _InProcess:
    """A session's tools on a guarded connection of this process."""

    def __init__(self, content: bytes | Path, caps: Caps) -> None:
        self._engine = Sqlite(content, caps=caps)

    def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        try:
            if tool == "schema":
                return ToolResult(Status.OK, value=collect(["name", "sql"], iter(self._engine.schema()), self._engine.caps))
            return ToolResult(Status.OK, value=self._engine.run(arguments["sql"]))
        except QueryError as error:
            return ToolResult(Status.ERROR, err=str(error))

    def fork(self, ids: Sequence[str]) -> Sequence[Self]:
        raise ForkRefused("it is opened again at the next query")

    def close(self) -> None:
        self._engine.close()
