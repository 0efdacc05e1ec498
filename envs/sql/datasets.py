"""Spider and BIRD, read from the user's own copy in the format in which they are published.

    Spider   dev.json, train_spider.json, ...      {"db_id": ..., "question": ..., "query": ...}
             tables.json                           names of columns in words
             database/<db_id>/<db_id>.sqlite       and, in the test suites, other *.sqlite with other rows beside it
    BIRD     dev.json, train.json, ...             {"db_id", "question", "SQL", "evidence", "difficulty", "question_id"}
             dev_databases/<db_id>/<db_id>.sqlite
             .../<db_id>/database_description/*.csv     what tables and columns mean

A path is the folder, or one of its files with questions. A file called train... is for training, dev... and test... for testing.
Levels: of BIRD simple 2, moderate 4, challenging 6; else by what the query holds: joins, groups, nesting, sets, windows.

A prediction is run on the database itself and on its neighbours: the test suite's where there are any, else generated ones
(`turnwise.tool_servers.sql.variants`) where the database is small; of a large one only the database itself is left, as in the
published evaluations. Sessions read a large one where it lies, read-only (in sandboxes weaker than "namespaces" they get a copy).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from typing_extensions import override

from turnwise.envs.core import Split
from turnwise.envs.question_files import DataSplit, checked_data_split, id_in_split, named_split, records_of
from turnwise.envs.sql.worlds import NEIGHBOURS, Databases, World
from turnwise.errors import ConfigError, EnvFailure
from turnwise.tool_servers.sql.grader import Gold, Grader
from turnwise.tool_servers.sql.variants import neighbours_of
from turnwise.types import Task

__all__ = ["FileDatabases", "load_questions", "notes_of"]

_LEVELS: Mapping[str, int] = {"simple": 2, "moderate": 4, "challenging": 6}
_SMALL = 1 << 20
"""Bytes of a database up to which it is copied for each session, and neighbours of it are made."""
_MOST_SUITE = 8
_ASKING = re.compile(r"(mini_?)?(train|dev|test)(?!.*(tables|gold|predict)).*\.jsonl?$", re.IGNORECASE)


def load_questions(path: str | Path, *, split: DataSplit = "auto", name: str | None = None) -> list[Task]:
    """Every question of a copy of Spider or BIRD as a Task, in order; one that occurs twice is taken once.

    split: "auto" as the module says, "hash" by the question alone, "train" or "test" puts all of them there.
    name: goes into the ids; the folder's name by default.
    Raises ConfigError with file and number of what cannot be read, and of a question whose database is not there.
    """
    root, split = Path(path).expanduser(), checked_data_split(split)
    folder = root if root.is_dir() else root.parent
    files = [root] if root.is_file() else sorted(f for f in folder.glob("*.json*") if _ASKING.match(f.name))
    if not files:
        raise ConfigError(f"{root}: expected dev.json, train_spider.json or another file of Spider or BIRD; there is none.")
    databases = {f.stem: f.resolve() for f in folder.rglob("*.sqlite") if f.parent.name == f.stem}
    tasks = dict[tuple[str, str, str], Task]()
    for file in files:
        for where, row in records_of(file):
            task = _task(where, row, name or folder.name, databases, _split(where, row, file, folder, split))
            tasks.setdefault((task.metadata["data"]["db_id"], task.prompt, task.answer), task)
    if not tasks:
        raise ConfigError(f"{root}: expected questions; there are none.")
    return list(tasks.values())


def _split(where: str, row: Mapping[str, Any], file: Path, folder: Path, split: DataSplit) -> Split | None:
    if split == "auto" and "split" not in row:
        return "train" if file.stem.lower().startswith("train") else "test"
    return named_split(where, row, file, folder, split)


def _task(where: str, row: Mapping[str, Any], name: str, databases: Mapping[str, Path], split: Split | None) -> Task:
    sql, question, db_id = (row.get(key) for key in ("sql", "question", "db_id"))
    sql = row.get("query") if not isinstance(sql, str) else sql  # Spider's "sql" is a syntax tree
    if not (isinstance(sql, str) and isinstance(question, str) and isinstance(db_id, str) and question.strip() and sql.strip()):
        raise ConfigError(
            f"{where}: expected db_id, question and query (or SQL) with text, got the keys {', '.join(row) or 'none'}."
        )
    if db_id not in databases:
        raise ConfigError(f"{where}: expected the database {db_id}/{db_id}.sqlite below the folder; there is none.")
    evidence = str(row.get("evidence") or "").strip()
    prompt = question.strip() + (f"\nEvidence: {evidence}" if evidence else "")
    difficulty = str(row.get("difficulty") or "").lower()
    about = {"db_id": db_id, "database": str(databases[db_id]), "difficulty": difficulty}
    task_id = id_in_split(name, "\n".join([db_id, prompt, sql]), split)
    metadata = {"data": about, "steps": [["list_tables", ""], ["query", sql.strip()]]}
    return Task(task_id, prompt, sql.strip(), _LEVELS.get(difficulty) or _depth(sql), metadata)


def _depth(sql: str) -> int:
    """1 to 6, as the levels of generated questions go."""
    try:
        tree = sqlglot.parse_one(sql, dialect="sqlite")
    except (SqlglotError, RecursionError):
        return 3
    selects = len([*tree.find_all(exp.Select)])
    special = tree.find(exp.Window) or tree.find(exp.SetOperation)
    if selects > 1 or special:
        grouped = tree.find(exp.Group) is not None
        return 6 if grouped and (special or selects > 2) else 5 if special else 4
    return 3 if tree.find(exp.Group) else 2 if tree.find(exp.Join) else 1


class FileDatabases(Databases):
    """Of a question in a file: its database, then its neighbours."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._path = Path(task.metadata["data"]["database"])
        self._neighbours: Iterator[bytes | Path] = iter(())

    @override
    def _next(self, made: Sequence[World]) -> World | None:
        if made:
            content = next(self._neighbours, None)
        else:
            content, self._neighbours = _content(self._path), self._others()
        return None if content is None else World(content, self._gold(content))

    def _others(self) -> Iterator[bytes | Path]:
        suite = sorted(f for f in self._path.parent.glob("*.sqlite") if f.name != self._path.name)[:_MOST_SUITE]
        yield from map(_content, suite)
        if not suite and self._path.stat().st_size <= _SMALL:
            yield from neighbours_of(self._path, self.task.answer, keep=NEIGHBOURS, tries=8)

    def _gold(self, content: bytes | Path) -> Gold:
        try:
            return Grader([content]).gold(self.task.answer, strict=False)
        except ConfigError as error:
            raise EnvFailure("gold", f"{self.task.id}: {error}") from error


def _content(file: Path) -> bytes | Path:
    """A large database stays where it is."""
    return file.read_bytes() if file.stat().st_size <= _SMALL else file


@lru_cache(maxsize=64)
def notes_of(database: str) -> Mapping[str, str]:
    """Table.column -> what it means, from BIRD's descriptions or Spider's tables.json; empty where there are neither."""
    folder = Path(database).parent
    described = dict[str, str]()
    for file in sorted((folder / "database_description").glob("*.csv")):
        described |= dict(_described(file))
    return described or _named(folder)


def _described(file: Path) -> Iterator[tuple[str, str]]:
    text = file.read_bytes().decode("utf-8-sig", "replace")
    for row in csv.DictReader(io.StringIO(text, newline="")):
        column = (row.get("original_column_name") or "").strip()
        parts = [" ".join((row.get(k) or "").split()) for k in ("column_name", "column_description", "value_description")]
        note = "; ".join(dict.fromkeys(p for p in parts if p and p.lower() != column.lower()))
        if column and note:
            yield f"{file.stem}.{column}", note


def _named(folder: Path) -> Mapping[str, str]:
    file = next((p / "tables.json" for p in folder.parents if (p / "tables.json").is_file()), None)
    if file is None:
        return {}
    found = dict[str, str]()
    for schema in cast("list[dict[str, Any]]", json.loads(file.read_text(encoding="utf-8"))):
        if schema.get("db_id") == folder.name:
            tables = schema["table_names_original"]
            for (at, own), (_, words) in zip(schema["column_names_original"], schema["column_names"], strict=True):
                if at >= 0 and own.lower().replace("_", " ") != words.lower():
                    found[f"{tables[at]}.{own}"] = words
    return found
