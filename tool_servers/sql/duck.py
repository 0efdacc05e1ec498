"""SQL for a model in DuckDB: as `worker`, with DuckDB's own walls, locked, and lists of what may be called.

DuckDB has no authorizer, and some of its functions make a gigabyte of one number in a step that nothing interrupts. So a query is
taken apart by DuckDB's own parser first, and each function it names must be on a list. Changes, which that parser does not give
away, may have no comments and none of DuckDB's other functions before a parenthesis. What grows step by step is bounded by the
memory limit, the deadline and the sandbox. Stands alone but for `worker.py` beside it, as that does.
"""

import importlib.util
import json
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnwise.tool_servers.sql import worker
else:  # a session has the two files and no package
    _spec = importlib.util.spec_from_file_location("sql_worker", Path(__file__).with_name("worker.py"))
    worker = importlib.util.module_from_spec(_spec)
    sys.modules[_spec.name] = worker
    _spec.loader.exec_module(worker)

__all__ = ["Duck", "Worker"]

FUNCTIONS = frozenset(
    """abs acos add age any_value approx_count_distinct arbitrary arg_max arg_min argmax argmin array_agg array_contains
    array_distinct array_extract array_length array_position array_slice array_to_string array_value ascii asin atan atan2
    avg bit_and bit_count bit_or bit_xor bool_and bool_or cardinality cbrt ceil ceiling century chr coalesce concat
    concat_ws contains corr cos count count_if count_star countif covar_pop covar_samp cume_dist current_date current_schema
    current_timestamp date date_add date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname
    dayofmonth dayofweek dayofyear decade degrees dense_rank ends_with entropy epoch even exp extract fdiv first first_value
    floor fmod fsum gcd greatest group_concat hour if ifnull ilike_escape instr is_histogram_other_bin isfinite isinf isnan
    isodow isoyear json json_array json_array_length json_extract json_extract_string json_keys json_type json_valid
    kurtosis lag last last_day last_value lcase lcm lead least left len length levenshtein like_escape list list_apply
    list_avg list_contains list_count list_distinct list_extract list_filter list_has list_max list_min list_position
    list_reverse list_slice list_sort list_sum list_transform list_unique list_value listagg ln log log10 log2 lower ltrim
    mad make_date make_timestamp map_extract max max_by md5 mean median microsecond millisecond min min_by minute mod mode
    month monthname multiply nextafter not_ilike_escape not_like_escape nth_value ntile nullif nvl percent_rank pi position
    pow power prefix product quantile quantile_cont quantile_disc quarter radians random rank regexp_extract
    regexp_full_match regexp_matches reverse right round round_even row row_number rtrim second sign sin skewness split_part
    sqrt starts_with stddev stddev_pop stddev_samp str_split strftime string_agg string_split strip_accents strlen strpos
    strptime struct_extract struct_pack substr substring subtract suffix sum tan to_days to_hours to_minutes to_months
    to_seconds to_years trim trunc try_strptime typeof ucase unicode unnest upper var_pop var_samp variance week weekday
    weekofyear xor year yearweek""".split()  # noqa: SIM905
)
"""Not here: what takes a size (repeat, lpad, printf, range as a list), files, settings, the environment, SQL in texts (query)."""
TABLE_FUNCTIONS = frozenset({"generate_series", "pragma_table_info", "range", "unnest"})
OFF = ("autoinstall_known_extensions", "autoload_known_extensions", "allow_persistent_secrets")
CHANGES = ("INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER")
NOT_THERE = "The function {}() is not available here: it is not on the list."
_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(ANALYZE\s+)?", re.IGNORECASE)
_CALLED = re.compile(r'(\w+)"?\s*\(')


def called(tree: Any) -> Iterator[tuple[str, bool]]:
    """(name, whether as a table) of every function in a syntax tree of DuckDB; operators by their names without letters."""
    open_nodes = [(tree, False)]
    while open_nodes:
        node, table = open_nodes.pop()
        if isinstance(node, list):
            open_nodes += [(item, False) for item in node]
        elif isinstance(node, dict):
            if node.get("function_name"):
                yield str(node["function_name"]).lower(), table
            within = node.get("type") == "TABLE_FUNCTION"
            open_nodes += [(child, within and key == "function") for key, child in node.items()]


class Duck:
    """One guarded DuckDB connection; no transactions."""

    def __init__(
        self,
        database: "worker.Source",
        script: str = "",
        writable: bool = False,
        caps: "worker.Caps" = worker.CAPS,
        seed: int = 0,
    ) -> None:
        """As `worker.Sqlite`; no bytes. random() counts from the seed."""
        import duckdb  # noqa: PLC0415  (an extra)

        self.caps, self.writable, self._error = caps, writable, duckdb.Error
        self._kinds = {getattr(duckdb.StatementType, kind) for kind in ("SELECT", "EXPLAIN", *CHANGES * writable)}
        settings: dict[str, Any] = {"threads": 1, "async_threads": 0}  # a process without threads can fork
        settings |= {"memory_limit": f"{caps.memory_mb}MB", "temp_directory": ""} | dict.fromkeys(OFF, False)
        copied = database is not None and (writable or bool(script))
        target = ":memory:" if copied or database is None else str(database)
        self._db = duckdb.connect(target, read_only=target != ":memory:", config=settings)
        if copied:
            self._db.execute(f"ATTACH '{str(database).replace(chr(39), chr(39) * 2)}' AS source (READ_ONLY)")
            self._db.execute("COPY FROM DATABASE source TO memory; DETACH source")
        if script:
            self._db.execute(script)
        self.close = self._db.close
        self._db.execute(f"SELECT setseed({(seed % 1_000_003) / 1_000_003})")
        self._db.execute("SET enable_external_access = false; SET lock_configuration = true")
        names = self._db.execute("SELECT DISTINCT lower(function_name) FROM duckdb_functions()").fetchall()
        self._others = {str(name) for (name,) in names} - FUNCTIONS

    def run(self, sql: str) -> dict[str, Any]:
        """One statement; QueryError says in one or two sentences what was wrong."""
        worker.checked(sql)
        watch = threading.Timer(self.caps.query_s, self._db.interrupt)
        watch.start()
        try:
            statements = self._db.extract_statements(sql)
            if len(statements) != 1:
                raise worker.QueryError(worker.ONE_ONLY)
            kind = statements[0].type
            if kind not in self._kinds:
                allowed = ", ".join(sorted(kind.name for kind in self._kinds))
                raise worker.QueryError(f"{kind.name} is not allowed here; only {allowed}.")
            self._look_at(sql, kind.name)
            return self._run(statements[0])
        except (self._error, RuntimeError, UnicodeError) as error:
            raise worker.QueryError(self._reason(error)) from None
        finally:
            watch.cancel()
            watch.join()

    def schema(self) -> list[tuple[str, str]]:
        """(name, CREATE statement) of every table and view."""
        found = "SELECT table_name, sql FROM duckdb_tables() UNION SELECT view_name, sql FROM duckdb_views() WHERE NOT internal"
        return self._db.execute(f"{found} ORDER BY 1").fetchall()

    def state(self, tables: Sequence[str]) -> dict[str, Any]:
        """As `worker.Sqlite.state`."""
        home, *_ = self._db.execute("SELECT current_database()").fetchone() or ("memory",)
        real = self._db.execute("SELECT table_name FROM duckdb_tables() WHERE NOT temporary").fetchall()
        return worker.contents(self.run, f"{worker.quoted(home)}.main", {r[0] for r in real}, tables)

    def _look_at(self, sql: str, kind: str) -> None:
        """QueryError for a function that is not on the lists."""
        if kind in CHANGES:
            if "--" in sql or "/*" in sql:
                raise worker.QueryError("Leave comments out of statements that change something.")
            refused = [name for name in _CALLED.findall(sql) if name.lower() in self._others - TABLE_FUNCTIONS]
        else:
            refused = [name for name, table in self._called(sql) if not _known(name, table)]
        if refused:
            raise worker.QueryError(NOT_THERE.format(refused[0][:100]))

    def _called(self, sql: str) -> Iterator[tuple[str, bool]]:
        (text,) = self._db.execute("SELECT json_serialize_sql(?)", [_EXPLAIN.sub("", sql, count=1)]).fetchone() or ("",)
        found = json.loads(text)
        if found["error"]:
            raise worker.QueryError(f"Only one SELECT, or its EXPLAIN, works: {found['error_message']}")
        return called(found["statements"])

    def _run(self, statement: Any) -> dict[str, Any]:
        if not self.writable:
            self._db.execute("BEGIN TRANSACTION READ ONLY")
        try:
            result = self._db.execute(statement)
            return worker.collect([d[0] for d in result.description or ()], iter(result.fetchone, None), self.caps)
        finally:
            if not self.writable:
                self._db.execute("ROLLBACK")

    def _reason(self, error: BaseException) -> str:
        text = str(error).strip()
        if "INTERRUPT" in text.upper():
            return worker.TOO_LONG.format(self.caps.query_s)
        if "Out of Memory" in text:
            return worker.TOO_MUCH.format(self.caps.memory_mb)
        if "Catalog Error: Table" in text:
            return f"{text.splitlines()[0]} Tables: {worker.listed(name for name, _ in self.schema())}."
        return text


def _known(name: str, table: bool) -> bool:
    return name in TABLE_FUNCTIONS if table else name in FUNCTIONS or not re.search(r"\w", name)


class QueryError(worker.QueryError):
    """The worker's, by this module's name: a session shows the messages of its own errors as they are."""


class Worker(worker.Worker):
    """The tools of one session."""

    engine_name = "duckdb"

    def handle(self, tool: str, arguments: dict[str, Any]) -> Any:
        """As `worker.Worker.handle`."""
        try:
            return super().handle(tool, arguments)
        except worker.QueryError as error:
            raise QueryError(str(error)) from None

    def _opened(self, database: str | None, script: str, writable: bool, caps: "worker.Caps", seed: int) -> "worker.Engine":
        return Duck(database, script, writable, caps, seed)
