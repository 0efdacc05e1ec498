"""The SQL environment: resets and steps a CPU second, what grading costs, and what it finds that a comparison of sets does not.

    python benchmarks/sql_env.py [--rounds 5] [--tasks 40] [--out benchmarks/results/sql_env.json]

"sets" is the pattern of the public BIRD evaluator, written here: gold and prediction are run on the one database, and their rows
compared as sets. "sets, all databases" does so on the four databases of our grader. Both and ours (`needs="process"`: the guarded
connection, no sandbox around it) grade the gold query and the same wrong ones in turn, in one process; CPU milliseconds a
prediction, the databases and our gold answers being made before. Wrong ones are gold queries with one change (a condition,
DISTINCT or ORDER BY dropped, a comparison or literal changed, LIMIT one more); some of these changes change nothing, so that no
way can refuse all of them, and what counts is what the one accepts and the other does not.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import exp

from turnwise.envs.sql.sql import SQL
from turnwise.envs.sql.worlds import GeneratedDatabases
from turnwise.types import Task

MOST_ROWS = 10_000
COMPARISONS = {exp.LT: exp.LTE, exp.LTE: exp.LT, exp.GT: exp.GTE, exp.GTE: exp.GT}


def changes(sql: str) -> Iterator[tuple[str, str]]:
    """(what was changed, query) with one change each."""
    tree = sqlglot.parse_one(sql, read="sqlite")
    for number, node in enumerate(list(tree.walk())):
        if kind := _kind(node):
            twin = tree.copy()
            other = list(twin.walk())[number]
            yield kind, _changed(twin, other, kind).sql(dialect="sqlite")


def _kind(node: exp.Expression) -> str:
    if isinstance(node, exp.Where):
        return "no condition"
    if isinstance(node, exp.Distinct) and isinstance(node.parent, exp.Select):
        return "no DISTINCT"
    if isinstance(node, exp.Order) and isinstance(node.parent, exp.Select):
        return "no ORDER BY"
    if isinstance(node, exp.Limit):
        return "LIMIT one more"
    if type(node) in COMPARISONS:
        return "comparison"
    return "literal" if isinstance(node, exp.Literal) and not node.is_string and node.this.isdigit() else ""


def _changed(tree: exp.Expression, node: exp.Expression, kind: str) -> exp.Expression:
    if kind in ("no condition", "no DISTINCT", "no ORDER BY"):
        node.pop()
    elif kind == "LIMIT one more":
        node.set("expression", exp.Literal.number(int(node.expression.name) + 1))
    elif kind == "comparison":
        node.replace(COMPARISONS[type(node)](this=node.this, expression=node.expression))
    else:
        node.replace(exp.Literal.number(int(node.name) + 1))
    return tree


def sets(contents: Sequence[bytes], gold: str, sql: str) -> bool:
    """Whether two queries give equal sets of rows on each database."""
    for content in contents:
        with closing(sqlite3.connect(":memory:")) as db:
            db.deserialize(content)
            try:
                rows = [set(db.execute(query).fetchmany(MOST_ROWS)) for query in (gold, sql)]
            except sqlite3.Error:
                return False
        if rows[0] != rows[1]:
            return False
    return True


def drawn(env: SQL, level: int, tasks: int) -> list[tuple[Task, list[bytes], list[tuple[str, str]]]]:
    """(task, its databases, [(what, query)]) of a level; the first query of each is the gold one."""
    found = list[tuple[Task, list[bytes], list[tuple[str, str]]]]()
    for seed in range(tasks):
        env.reset(seed=seed, options={"difficulty": level})
        contents = [world.content for world in GeneratedDatabases(env.task)]
        assert all(isinstance(content, bytes) for content in contents)
        found.append((env.task, contents, [("gold", env.task.answer), *changes(env.task.answer)]))  # type: ignore[arg-type]
    return found


def cpu_ms(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    result = work()
    return 1e3 * (time.process_time() - begun), result


def grading(env: SQL, cases: Sequence[tuple[Task, list[bytes], list[tuple[str, str]]]]) -> dict[str, Any]:
    """One round: way -> CPU milliseconds a prediction; and what each way accepts, by the kind of change."""
    spent, accepted, count = dict.fromkeys(("sets", "sets, all databases", "ours"), 0.0), dict[str, dict[str, int]](), 0
    for task, contents, queries in cases:
        env.reset(seed=0, options={"task": task})
        env.grade(task.answer)  # makes the databases
        for kind, sql in queries:
            ways: dict[str, Callable[[], Any]] = {
                "sets": lambda c=contents, t=task, q=sql: sets(c[:1], t.answer, q),
                "sets, all databases": lambda c=contents, t=task, q=sql: sets(c, t.answer, q),
                "ours": lambda q=sql: env.grade(q) == 1.0,
            }
            row = accepted.setdefault(kind, dict.fromkeys(("tried", *ways), 0))
            row["tried"] += 1
            count += 1
            for way, work in ways.items():
                ms, yes = cpu_ms(work)
                spent[way] += ms
                row[way] += bool(yes)
    return {"ms": {way: ms / count for way, ms in spent.items()}, "accepted": accepted}


def played(env: SQL, level: int, tasks: int, first: int) -> dict[str, float]:
    """Resets, and steps of the expert but the answer, a CPU second; the first step of an episode makes the database."""
    reset_ms = step_ms = 0.0
    steps = 0
    for seed in range(first, first + tasks):
        reset_ms += cpu_ms(lambda seed=seed: env.reset(seed=seed, options={"difficulty": level}))[0]
        for _ in env.task.metadata["steps"]:
            action = env.expert_action()
            step_ms += cpu_ms(lambda action=action: env.step(action))[0]
            steps += 1
    return {"resets": 1e3 * tasks / reset_ms, "steps": 1e3 * steps / step_ms}


def spread(values: Sequence[float]) -> list[float]:
    """Median, lowest, highest."""
    return [round(f(values), 3) for f in (statistics.median, min, max)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sql_env.json")
    options = parser.parse_args()
    env = SQL(needs="process")
    results: dict[str, Any] = {"sqlite": sqlite3.sqlite_version, "rounds": options.rounds, "tasks a level": options.tasks}
    for level in env.levels:
        pace = [played(env, level, options.tasks, 1000 * number) for number in range(options.rounds)]
        cases = drawn(env, level, options.tasks)
        rounds = [grading(env, cases) for _ in range(options.rounds)]
        ms = {way: [one["ms"][way] for one in rounds] for way in rounds[0]["ms"]}
        ratios = {f"ours / {way}": [a / b for a, b in zip(ms["ours"], ms[way], strict=True)] for way in ms if way != "ours"}
        accepted: dict[str, dict[str, int]] = rounds[0]["accepted"]
        results[f"level {level}"] = {
            "a CPU second, median lowest highest": {what: spread([one[what] for one in pace]) for what in pace[0]},
            "ms a prediction, median lowest highest": {way: spread(values) for way, values in ms.items()},
            "ratio, median lowest highest": {way: spread(values) for way, values in ratios.items()},
            "accepted": accepted,
        }
        wrong = [row for kind, row in accepted.items() if kind != "gold"]
        sums = {way: sum(row[way] for row in wrong) for way in ("tried", *ms)}
        print(
            f"level {level}: {json.dumps(results[f'level {level}'] | {'accepted': sums, 'gold': accepted['gold']})}", flush=True
        )
    env.close()
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
