"""SQL for a model: one statement per call, in a connection that can do nothing but that.

Stands alone (standard library only), for it runs inside a sandbox session; a trusted process may use `Sqlite`, the same walls,
directly. An authorizer with lists of what is allowed decides when a statement is compiled, limits bound every value, a progress
handler keeps the deadline. What SQLite does without end inside one opcode is not on the lists, or bounded by a function of ours.
For DuckDB see `duck`, the worker of the profile of that name.

Settings of a session
    database   file below the work folder (SessionSpec.files), or
    script     SQL text that builds the database in memory
    engine     "sqlite", or "duckdb" in that profile; may be left out
    mode       "read-only" | "writable": a copy in memory, the file stays as it is; a fork of the session is a fork of the copy
    max_rows, max_kb, query_s, memory_mb    see `Caps`
"""

import decimal
import math
import re
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import quote

__all__ = [
    "Caps",
    "Engine",
    "QueryError",
    "Source",
    "Sqlite",
    "Worker",
    "checked",
    "collect",
    "contents",
    "listed",
    "plain",
    "quoted",
]

FUNCTIONS = frozenset(
    """abs acos acosh asin asinh atan atan2 atanh avg bm25 ceil ceiling changes char coalesce concat concat_ws cos cosh count
    cume_dist current_date current_time current_timestamp date datetime degrees dense_rank exp first_value floor format glob
    group_concat hex highlight ifnull iif instr json json_array json_array_length json_each json_extract json_group_array
    json_group_object json_insert json_object json_quote json_remove json_replace json_set json_tree json_type json_valid
    julianday lag last_insert_rowid last_value lead length like likelihood likely ln log log10 log2 lower ltrim match max min
    mod nth_value ntile nullif octet_length percent_rank pi pow power printf quote radians rank replace round row_number rtrim
    sign sin sinh snippet soundex sqlite_version sqrt strftime string_agg substr substring sum tan tanh time timediff total
    total_changes trim trunc typeof unhex unicode unixepoch unlikely upper -> ->>""".split()  # noqa: SIM905
)
"""Not here: what makes files, loads code or memory (load_extension, zeroblob, randomblob), what has no end inside one opcode
(json_patch), and random(), whose results nobody could repeat. printf and trim are ours, see `_bounded_functions`."""
ALTER_FUNCTIONS = frozenset({"sqlite_drop_column", *(f"sqlite_rename_{n}" for n in ("column", "table", "test", "quotefix"))})
"""SQLite's own, called inside ALTER TABLE; no statement can name them."""
PRAGMAS = frozenset({"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"})
SPY_TABLES = frozenset({"sqlite_stmt", "dbstat", "sqlite_dbpage", "bytecode", "tables_used"})
_CHANGE = re.compile("SQLITE_((CREATE|DROP)_(TABLE|INDEX|VIEW|TRIGGER)|INSERT|UPDATE|DELETE|ALTER_TABLE|TRANSACTION|SAVEPOINT)")
CHANGES = frozenset(code for name, code in vars(sqlite3).items() if _CHANGE.fullmatch(name)) | {sqlite3.SQLITE_REINDEX}
LIMITS = {"LENGTH": 1 << 20, "SQL_LENGTH": 100_000, "EXPR_DEPTH": 500, "COMPOUND_SELECT": 100, "VDBE_OP": 250_000, "ATTACHED": 0}
LIMITS["LIKE_PATTERN_LENGTH"] = 1_000
WIDEST = 1_000
"""Largest width or precision of a printf conversion, and most characters that trim takes away."""
ONE_ONLY = "Only one statement per call: send the next one in a call of its own."
TOO_LONG = "The query was stopped after {:g} s; filter earlier or add a LIMIT."
TOO_MUCH = "The query needs more than {} MB of memory; ask for less at once."
Source = str | Path | bytes | None


class QueryError(Exception):
    """What a model reads when its statement was refused, was wrong or took too long."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Bounds of one statement."""

    max_rows: int = 100
    max_kb: int = 64
    query_s: float = 5.0
    memory_mb: int = 256
    """What the engine may take; the sandbox bounds the process."""
    count_rows: int = 100_000  # beyond max_rows


CAPS = Caps()


def plain(value: Any) -> Any:
    """A cell as JSON: null, bool, int (exact), finite float, str; {"float": "inf"}, {"blob": hex}, {"decimal": "1.20"}, lists."""
    if value is None or type(value) in (int, str, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"blob": bytes(value).hex()}
    if isinstance(value, decimal.Decimal):
        return {"decimal": str(value)}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value)


def _clip(cell: Any, most: int) -> Any:
    text = cell if isinstance(cell, str) else str(cell)
    return cell if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def collect(columns: Sequence[str], rows: Iterator[Sequence[Any]], caps: Caps) -> dict[str, Any]:
    """The result that a model gets: as many rows as the caps allow, and how many more there are."""
    kept: list[list[Any]] = []
    room, clipped, more = caps.max_kb * 1024, False, 0
    for row in rows:
        cells = [plain(v) for v in row]
        size = len(str(cells))
        if len(kept) >= caps.max_rows or (kept and size > room):
            more = 1 + sum(1 for _ in islice(rows, caps.count_rows))
            break
        if size > room:
            cells, clipped = [_clip(c, room // len(cells)) for c in cells], True
        kept.append(cells)
        room -= size
    counted = f"more than {caps.count_rows:,}" if more > caps.count_rows else f"{more:,}"
    note = f"{counted} more row{'s' * (more != 1)} not shown." if more else "Long values were cut." if clipped else ""
    return {"columns": list(columns), "rows": kept, "more_rows": more, "complete": not (more or clipped), "note": note}


class Sqlite:
    """One guarded SQLite connection."""

    def __init__(
        self, database: Source, script: str = "", writable: bool = False, caps: Caps = CAPS, alone: bool = False
    ) -> None:
        """`database`: a file, its bytes or None; `script` is trusted; `alone` bounds SQLite's memory in the whole process."""
        self.caps, self.writable, self._refusal, self._deadline = caps, writable, "", math.inf
        self._connection = _opened(database, writable or bool(script))
        self._connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        if script:
            self._connection.executescript(script)
            self._connection.commit()
        self.close = self._connection.close
        self.schema()  # a file that is no database is an error now, not the model's first result
        self._harden(*[f"hard_heap_limit = {caps.memory_mb << 20}"] * alone)

    def run(self, sql: str) -> dict[str, Any]:
        """One statement; QueryError says in one or two sentences what was wrong."""
        checked(sql)
        with self._explained(), closing(self._connection.cursor()) as cursor:
            cursor.execute(sql)
            if cursor.description is None:
                return {**collect([], iter(()), self.caps), "changed": max(0, cursor.rowcount)}
            return collect([d[0] for d in cursor.description], cursor, self.caps)

    def schema(self) -> list[tuple[str, str]]:
        """(name, CREATE statement) of every table and view."""
        found = "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        return [(str(name), str(sql)) for name, sql in self._connection.execute(found + " ORDER BY name")]

    def state(self, tables: Sequence[str]) -> dict[str, Any]:
        """{table: result} of real tables of the main database; what a view or a temporary table shows does not count."""
        if self._connection.in_transaction:
            raise QueryError("A transaction is still open.")
        real = self._connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
        return contents(self.run, "main", {r[0] for r in real}, tables)

    def _harden(self, *more: str) -> None:
        db = self._connection
        for pragma in (f"query_only = {int(not self.writable)}", *more):
            db.execute(f"PRAGMA {pragma}")
        for name, value in LIMITS.items():
            db.setlimit(getattr(sqlite3, f"SQLITE_LIMIT_{name}"), value)
        for name, count, function in _bounded_functions():
            db.create_function(name, count, function, deterministic=True)
        db.set_authorizer(self._authorize)
        db.set_progress_handler(lambda: time.monotonic() > self._deadline, 1_000)

    def _authorize(self, action: int, one: str | None, two: str | None, _database: str | None, _inner: str | None) -> int:
        refusal = "" if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE) else self._objection(action, one, two)
        self._refusal = self._refusal or refusal
        return sqlite3.SQLITE_DENY if refusal else sqlite3.SQLITE_OK

    def _objection(self, action: int, one: str | None, two: str | None) -> str:
        """Why not; "" for what is allowed."""
        if action == sqlite3.SQLITE_READ:
            return f"The table {one} cannot be read here." if one in SPY_TABLES else ""
        if action == sqlite3.SQLITE_FUNCTION:
            known = two in FUNCTIONS or (self.writable and two in ALTER_FUNCTIONS)
            why = "results must be repeatable" if two in ("random", "randomblob") else "it is not on the list"
            return "" if known else f"The function {two}() is not available here: {why}."
        if action == sqlite3.SQLITE_PRAGMA:
            return "" if one in PRAGMAS else f"PRAGMA {one} is not available here; only {', '.join(sorted(PRAGMAS))}."
        if action == sqlite3.SQLITE_UPDATE and one in ("sqlite_master", "sqlite_temp_master"):
            return ""  # asked for table-valued functions and ALTER; an UPDATE by itself needs writable_schema
        if not self.writable:
            return "The database is read-only: only SELECT works."
        allowed = action in CHANGES and one != "sqlite_temp_master"
        return "" if allowed else "Only SELECT and changes to this database's own tables, indexes, views and triggers work here."

    @contextmanager
    def _explained(self) -> Generator[None]:
        """The deadline runs inside, and what SQLite says becomes what helps."""
        self._refusal, self._deadline = "", time.monotonic() + self.caps.query_s
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning, MemoryError, UnicodeError, ValueError) as error:
            late, self._deadline = time.monotonic() > self._deadline, math.inf
            raise QueryError(self._refusal or self._reason(error, late)) from None
        finally:
            self._deadline = math.inf

    def _reason(self, error: BaseException, late: bool) -> str:
        text = str(error)[:1].upper() + str(error)[1:].rstrip(".")
        if isinstance(error, MemoryError) or "out of memory" in text.lower():
            return TOO_MUCH.format(self.caps.memory_mb)
        if "Interrupted" in text and late:
            return TOO_LONG.format(self.caps.query_s)
        if text.startswith("No such table"):
            return f"{text}. Tables: {listed(name for name, _ in self.schema())}."
        if text.startswith(("No such column", "Ambiguous column")):
            return f"{text}. Columns: {listed(self._columns())}."
        known = (
            ("one statement at a time", ONE_ONLY),
            ("surrogates", "The query holds characters that are not valid Unicode."),
            ("user-defined function", f"printf() takes widths up to {WIDEST} written in its format, trim() {WIDEST} characters."),
            ("too big", "A text or blob of more than 1 MiB would come out; cut it with substr()."),
        )
        return next((message for part, message in known if part in text.lower()), f"{text}.")

    def _columns(self) -> Iterator[str]:
        for name, _ in self.schema():
            yield f"{name}({', '.join(r[1] for r in self._connection.execute(f'PRAGMA table_info({quoted(name)})'))})"


def checked(sql: Any) -> None:
    if not isinstance(sql, str):
        raise QueryError(f"The query must be text, not {type(sql).__name__}.")
    if not re.sub(r"--[^\n]*|/\*.*?(?:\*/|$)|[\s;]+", "", sql[: LIMITS["SQL_LENGTH"]], flags=re.DOTALL):
        raise QueryError("The query is empty.")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def contents(run: Callable[[str], Any], home: str, real: set[str], tables: Sequence[str]) -> dict[str, Any]:
    if missing := [t for t in tables if t not in real]:
        raise QueryError(f"No such table: {', '.join(missing)}.")
    return {t: run(f"SELECT * FROM {home}.{quoted(t)}") for t in tables}


def listed(names: Iterable[str], most: int = 30) -> str:
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "") or "none"


def _opened(database: Source, copied: bool) -> sqlite3.Connection:
    if isinstance(database, str | Path) and not copied:
        # immutable: no locks and no side files, so a file in WAL mode opens too and a fork of the process may go on reading
        uri = f"file:{quote(str(Path(database).resolve()))}?mode=ro&immutable=1"
        return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    if database is not None:
        content = database if isinstance(database, bytes) else Path(database).read_bytes()
        if content.startswith(b"\2\2", 18):  # a file in WAL mode cannot live in memory; these two bytes are the mode
            content = content[:18] + b"\1\1" + content[20:]
        if content:
            db.deserialize(content)
    return db


def _bounded_functions() -> Iterator[tuple[str, int, Callable[..., Any]]]:
    """(name, arguments, function): SQLite's own, asked in a second connection, refused where one call could take minutes."""
    kept = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    kept.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LIMITS["LENGTH"])

    def asked(name: str, too_much: Callable[..., bool]) -> Callable[..., Any]:
        def function(*arguments: Any) -> Any:
            if too_much(*arguments):
                raise ValueError
            return kept.execute(f"SELECT {name}({', '.join('?' * len(arguments))})", arguments).fetchone()[0]

        return function

    def wide(form: Any = "", *_: Any) -> bool:
        found = re.findall(r"%[-+ #,!]*(\*|\d*)(?:\.(\*|\d*))?", form) if isinstance(form, str) else [("*",)]
        return any(w == "*" or len(w) > 9 or int(w or 0) > WIDEST for pair in found for w in pair)

    def long(_: Any, taken: Any) -> bool:
        return len(str(taken)) > WIDEST

    yield from ((name, -1, asked("printf", wide)) for name in ("printf", "format"))
    yield from ((name, 2, asked(name, long)) for name in ("trim", "ltrim", "rtrim"))


class Engine(Protocol):
    """What a worker asks: one guarded connection."""

    caps: Caps

    def run(self, sql: str) -> dict[str, Any]: ...
    def schema(self) -> list[tuple[str, str]]: ...
    def state(self, tables: Sequence[str]) -> dict[str, Any]: ...


def _tool(name: str, description: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": description, "parameters": parameters}


class Worker:
    """The tools of one session."""

    tools: ClassVar[tuple[dict[str, Any], ...]] = (
        _tool("query", "Run one SQL statement and get its columns and rows.", sql={"type": "string"}),
        _tool("schema", "The CREATE statements of all tables and views."),
    )

    engine_name: ClassVar[str] = "sqlite"

    def __init__(self, settings: dict[str, Any], seed: int) -> None:
        names = {f.name for f in fields(Caps)}
        known = {"database", "script", "engine", "mode"} | names
        if unknown := sorted(set(settings) - known):
            raise ValueError(f"sql settings: no such setting: {', '.join(unknown)}; known: {', '.join(sorted(known))}.")
        engine, mode = settings.get("engine", self.engine_name), settings.get("mode", "read-only")
        if engine != self.engine_name or mode not in ("read-only", "writable"):
            raise ValueError(
                f"sql settings: expected engine {self.engine_name} and mode read-only|writable, got {engine}, {mode}; "
                "sqlite is the engine of the profile sql, duckdb that of duckdb."
            )
        caps = Caps(**{k: v for k, v in settings.items() if k in names})
        database = settings.get("database")
        if database is not None and not Path(database).is_file():
            raise ValueError(f"sql settings: there is no file {database!r} in the work folder.")
        self.engine = self._opened(database, settings.get("script", ""), mode == "writable", caps, seed)

    def handle(self, tool: str, arguments: dict[str, Any]) -> Any:
        """`query`, `schema`; and `state` ({"tables": [...]}), for the grader and not among `tools`."""
        if tool == "query":
            return self.engine.run(arguments.get("sql", ""))
        if tool == "schema":
            return collect(["name", "sql"], iter(self.engine.schema()), self.engine.caps)
        if tool == "state":
            return self.engine.state(arguments["tables"])
        raise QueryError(f"There is no tool {tool!r}; the tools are query and schema.")

    def _opened(self, database: str | None, script: str, writable: bool, caps: Caps, seed: int) -> Engine:
        return Sqlite(database, script, writable, caps, alone=True)
