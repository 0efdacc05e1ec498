"""SQL: what the walls cost a query, what a comparison of results costs, beside trying every order of the columns.

    python benchmarks/sql.py [--rounds 7] [--out benchmarks/results/sql.json]

Walls: one process, the same query bare and behind `Sqlite`, alternating, CPU milliseconds per query with fetching (and, behind
the walls, with making JSON of the cells); the ratio is of medians. Comparison: a right answer with columns and rows shuffled, and
one with two cells swapped; "every order" is the pattern of the public test-suite grader (each permutation of the columns, rows as
a multiset, until one fits), on results whose columns have one histogram: no column can be told from another by its values alone.
"""

import argparse
import json
import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from turnwise.tool_servers.sql.compare import Table, difference
from turnwise.tool_servers.sql.worker import Caps, Sqlite

CAPS = Caps(max_rows=100_000, max_kb=65_536, query_s=60.0)
QUERIES = {
    "point": ("SELECT name FROM emp WHERE id = 77", 2_000),
    "group-by join": ("SELECT d.name, count(*), avg(e.pay) FROM emp e JOIN dept d ON d.id = e.dept GROUP BY d.name", 20),
    "1,000 rows": ("SELECT * FROM emp LIMIT 1000", 50),
}


def database(rows: int) -> bytes:
    """Employees and departments, the same each time."""
    rng = np.random.default_rng(0)
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE dept(id INTEGER PRIMARY KEY, name TEXT)")
    db.execute("CREATE TABLE emp(id INTEGER PRIMARY KEY, name TEXT, dept INT, pay REAL)")
    db.executemany("INSERT INTO dept VALUES (?, ?)", [(i, f"dept {i}") for i in range(20)])
    made = zip(range(rows), rng.integers(0, 20, rows).tolist(), rng.random(rows).tolist(), strict=True)
    db.executemany("INSERT INTO emp VALUES (?, ?, ?, ?)", [(i, f"name {i}", dept, pay) for i, dept, pay in made])
    db.commit()
    return db.serialize()


def cpu_ms(call: Callable[[], Any], times: int) -> float:
    begun = time.process_time()
    for _ in range(times):
        call()
    return 1e3 * (time.process_time() - begun) / times


def alternating(calls: dict[str, Callable[[], Any]], times: int, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            found[name].append(cpu_ms(call, times))
    return found


def walls(rounds: int) -> dict[str, Any]:
    """Bare and hardened, on 2,000 and 200,000 rows."""
    results: dict[str, Any] = {}
    for size in (2_000, 200_000):
        content = database(size)
        bare = sqlite3.connect(":memory:")
        bare.deserialize(content)
        hard = Sqlite(content, caps=CAPS)
        for name, (sql, times) in QUERIES.items():
            count = max(1, times // (10 if size > 2_000 and "join" in name else 1))
            ways = {"bare": lambda q=sql, db=bare: db.execute(q).fetchall(), "hardened": lambda q=sql, db=hard: db.run(q)}
            results[f"{name}, {size:,} rows"] = summary(alternating(ways, count, rounds))
        opened = {"bare": lambda c=content: _bare_open(c), "hardened": lambda c=content: Sqlite(c).close()}
        results[f"open a copy, {size:,} rows"] = summary(alternating(opened, 20, rounds))
    return results


def _bare_open(content: bytes) -> None:
    db = sqlite3.connect(":memory:")
    db.deserialize(content)
    db.close()


def summary(times: dict[str, list[float]]) -> dict[str, Any]:
    middle = {name: statistics.median(values) for name, values in times.items()}
    spread = {name: [min(values), max(values)] for name, values in times.items()}
    one, other = list(middle)
    return {"median_ms": middle, "lowest_highest_ms": spread, "ratio": middle[other] / middle[one]}


def every_order(gold: Table, other: Table) -> bool:
    """The pattern of the test-suite grader."""
    count = Counter(gold.rows)
    orders = permutations(range(len(gold.columns)))
    return any(count == Counter(tuple(row[j] for j in order) for row in other.rows) for order in orders)


def pair(columns: int, rows: int, kind: str, spoil: bool) -> tuple[Table, Table]:
    """A result, and the same with rows and columns shuffled; `spoil` swaps two cells of a column."""
    rng = np.random.default_rng(columns)
    if kind == "one histogram":
        cells: Any = np.stack([rng.permutation(rows) for _ in range(columns)], axis=1)
    else:
        cells = rng.random((rows, columns))
    other = cells[rng.permutation(rows)][:, rng.permutation(columns)]
    if spoil:
        other[:2, 0] = other[1::-1, 0].copy()
    names = tuple(f"c{i}" for i in range(columns))
    return tuple(Table(names, tuple(tuple(row) for row in part.tolist())) for part in (cells, other))  # type: ignore[return-value]


def comparisons(rounds: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for kind in ("one histogram", "floats"):
        for columns, rows in ((20, 100), (20, 1_000), (20, 10_000)):
            for spoil in (False, True):
                gold, other = pair(columns, rows, kind, spoil)
                assert (difference(gold, other) == "") is not spoil
                times = [cpu_ms(lambda g=gold, o=other: difference(g, o), 1) for _ in range(rounds)]
                name = f"{columns} columns, {rows:,} rows, {kind}, {'wrong' if spoil else 'right'}"
                results[name] = {"median_ms": statistics.median(times), "lowest_highest_ms": [min(times), max(times)]}
    for columns in (6, 7, 8):
        gold, other = pair(columns, 100, "one histogram", spoil=True)
        ways = {"ours": lambda g=gold, o=other: difference(g, o), "every order": lambda g=gold, o=other: every_order(g, o)}
        results[f"{columns} columns, 100 rows, one histogram, wrong"] = summary(alternating(ways, 1, min(rounds, 3)))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "sql.json")
    options = parser.parse_args()
    results = {"sqlite": sqlite3.sqlite_version, "rounds": options.rounds}
    results |= {"walls": walls(options.rounds), "compare": comparisons(options.rounds)}
    for part in ("walls", "compare"):
        for name, row in results[part].items():
            medians = row["median_ms"] if isinstance(row["median_ms"], dict) else {"": row["median_ms"]}
            shown = "  ".join(f"{way} {value:.4g} ms".strip() for way, value in medians.items())
            print(f"{name:48} {shown}" + (f"  x{row['ratio']:.2f}" if "ratio" in row else ""))
    options.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
