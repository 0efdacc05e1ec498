"""Tasks for generated databases: a schema, a question, its gold query, and how somebody careful finds it out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from turnwise.envs.draws import Draws
from turnwise.envs.sql.asks_composed import COMPOSED
from turnwise.envs.sql.asks_groups import GROUPED
from turnwise.envs.sql.asks_nested import NESTED
from turnwise.envs.sql.asks_rows import JOINED, SINGLE, Recipe
from turnwise.envs.sql.asks_windows import WINDOWS
from turnwise.envs.sql.domains import Role
from turnwise.envs.sql.schema import Schema, schema_of
from turnwise.envs.sql.scope import Ask
from turnwise.types import Task

__all__ = ["CONVENTIONS", "LEVELS", "ask_of", "make_task"]

LEVELS: Mapping[int, Sequence[Recipe]] = {1: SINGLE, 2: JOINED, 3: GROUPED, 4: NESTED, 5: WINDOWS, 6: COMPOSED}
CONVENTIONS = (
    "A missing value (NULL) meets no condition, not even \"is not 'x'\", is in no sum, average, least or largest, and makes no "
    "group. The key of a row is its primary key."
)


def ask_of(seed: int, number: int, level: int) -> tuple[Schema, Ask]:
    """The schema of a seed, and one of the questions about it."""
    schema = schema_of(seed, level)
    draws = Draws(np.random.default_rng([seed, 2, number]))
    return schema, draws.pick(LEVELS[level])(draws, schema)


def make_task(seed: int, number: int, level: int) -> Task:
    """The task of a seed and number. Its id is made of question and gold query, so that no such pair is in both splits."""
    schema, ask = ask_of(seed, number, level)
    prompt = f"This is the database of {schema.about}. {ask.prompt}\n{CONVENTIONS}"
    sha = hashlib.blake2b(f"{prompt}\n{ask.sql}".encode(), digest_size=8).hexdigest()
    world = {"seed": seed, "number": number, "ordered": bool(ask.order), "unrounded": ask.unrounded}
    return Task(f"sql/{level}/{sha}", prompt, ask.sql, level, {**world, "steps": _steps(schema, ask)})


def _steps(schema: Schema, ask: Ask) -> list[list[str]]:
    """[tool, argument] of looking around: the tables, those that matter, values typed by hand, parts of the query, the query."""
    roles: dict[Role, None] = dict.fromkeys(role for scope in ask.scopes for role in scope.roles)
    steps = [["list_tables", ""], *(["describe", schema.tables[role].name] for role in roles)]
    touched: dict[tuple[Role, str], None] = dict.fromkeys(
        (role, name) for scope in ask.scopes for role, name in sorted(scope.used)
    )
    for role, name in touched:
        table = schema.tables[role]
        column = next(c for c in table.columns if c.name == name)
        if column.trap in ("case", "dates"):
            steps.append(["query", f"SELECT DISTINCT {name} FROM {table.name} LIMIT 20"])
    drafts = [["query", draft] for draft in ask.drafts]
    return [*steps, *drafts, ["query", ask.sql]]
