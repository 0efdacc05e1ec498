"""Generated questions: text and gold query agree, databases decide, and neighbours tell lucky queries apart."""

import re
from collections.abc import Iterator

import pytest

from turnwise.envs.sql.domains import DOMAINS, ROLES
from turnwise.envs.sql.questions import LEVELS, ask_of, make_task
from turnwise.envs.sql.rows import as_script, in_sqlite, rows_of
from turnwise.envs.sql.schema import schema_of
from turnwise.envs.sql.worlds import NEIGHBOURS, GeneratedDatabases, World
from turnwise.tool_servers.sql.doubles import doubles
from turnwise.tool_servers.sql.grader import Grader
from turnwise.types import Task


def tasks(level: int, count: int, start: int = 0) -> Iterator[Task]:
    return (make_task(1_000 * level + start + index, index % 3, level) for index in range(count))


def right(world: World, sql: str) -> bool:
    assert isinstance(world.content, bytes)
    return Grader([world.content]).grade(world.gold, sql).score == 1.0


def passes(worlds: list[World], sql: str) -> bool:
    return all(right(world, sql) for world in worlds)


def test_domains_are_whole() -> None:
    assert len(DOMAINS) == 12
    for domain in DOMAINS:
        assert set(domain.things) == set(ROLES)
        for role, thing in domain.things.items():
            kinds = [a.kind for a in thing.attributes]
            assert kinds.count("choice") >= 1 and kinds.count("number") >= 1, (domain.about, role)
            assert (role == "event") == ("name" not in kinds), (domain.about, role)
            names = [name for a in thing.attributes for name in a.names]
            assert all(re.fullmatch("[a-z_]+", name) for name in [*names, *thing.tables])
            assert all(len(set(a.values)) == len(a.values) for a in thing.attributes)


@pytest.mark.parametrize("level", LEVELS)
def test_gold_queries_decide(level: int) -> None:
    """Not empty, not too long, right on their own databases, of which no two answer the same as the first."""
    for task in tasks(level, 12):
        worlds = [*GeneratedDatabases(task)]
        assert len(worlds) == 1 + NEIGHBOURS
        answers = [world.gold.answers[0] for world in worlds]
        assert all(1 <= len(a.table.rows) <= 60 and not a.doubt for a in answers)
        assert all(a.table != answers[0].table for a in answers[1:])
        assert passes(worlds, task.answer), task.answer
        assert [*GeneratedDatabases(task)] == worlds


@pytest.mark.parametrize("level", LEVELS)
def test_blind_queries_pass_nowhere(level: int) -> None:
    """Constants, whole tables, counts, nothing, and the gold answer of the explored database written down."""
    for task in tasks(level, 6, start=100):
        worlds = [*GeneratedDatabases(task)]
        names = [table.name for table in schema_of(task.metadata["seed"], level).all_tables]
        seen = worlds[0].gold.answers[0].table
        cells = ", ".join(f"({', '.join(_literal(cell) for cell in row)})" for row in seen.rows)
        blind = ["SELECT 1", "SELECT 0", "SELECT NULL", "SELECT 1 WHERE 0", f"VALUES {cells}"]
        blind += [form.format(name) for name in names for form in ("SELECT * FROM {}", "SELECT count(*) FROM {}", "TABLE {}")]
        assert right(worlds[0], f"VALUES {cells}"), "right on the explored database, by writing down what was seen"
        for sql in blind:
            assert not passes(worlds, sql), (task.answer, sql)


def _literal(cell: object) -> str:
    return "NULL" if cell is None else "'" + cell.replace("'", "''") + "'" if isinstance(cell, str) else repr(cell)


def test_close_queries_are_told_apart() -> None:
    """Of the queries one small change away that answer otherwise on some of ten more databases, few pass on ours."""
    caught = missed = 0
    for level in LEVELS:
        for task in tasks(level, 4, start=200):
            worlds = [*GeneratedDatabases(task)]
            schema = schema_of(task.metadata["seed"], level)
            more = [in_sqlite(schema, rows_of(schema, (7, level, attempt))) for attempt in range(10)]
            for double in doubles(task.answer)[::3]:
                if passes(worlds, double):
                    missed += any(
                        sorted(map(repr, db.execute(double))) != sorted(map(repr, db.execute(task.answer))) for db in more
                    )
                else:
                    caught += 1
            for db in more:
                db.close()
    assert caught > 80 and missed <= 0.05 * (caught + missed), (caught, missed)


@pytest.mark.parametrize("level", LEVELS)
def test_the_text_says_what_the_query_asks(level: int) -> None:
    """Every constant of the query stands in the question, in the code or case that the notes tell."""
    for task in tasks(level, 40, start=300):
        _, ask = ask_of(task.metadata["seed"], task.metadata["number"], level)
        said = task.prompt.lower()
        codes = set("ABCDEFGHIJKLMNOP")
        for constant in set(re.findall(r"'([^']+)'", ask.sql)) - {"-", "."}:
            assert constant.lower() in said or constant in codes, (constant, task.prompt)
        assert bool(ask.order) == ("Order of the rows: any." not in task.prompt)
        assert not ask.order or "ORDER BY" in ask.sql


def test_traps_matter() -> None:
    """Without what the notes tell, queries are wrong: raw values where a text was typed by hand or has a code, raw dates."""
    found = {"case": 0, "code": 0, "dates": 0}
    for level in (4, 5, 6):
        for task in tasks(level, 14, start=400):
            sql = task.answer
            raw = {
                "case": re.sub(r"lower\(trim\((\w+\.\w+)\)\)", r"\1", sql),
                "dates": re.sub(r"CASE WHEN substr\((\w+\.\w+), 3, 1\).*?END", r"\1", sql),
                "code": re.sub(r"(_code (?:=|<>) )'\w'", r"\1'paid'", sql),
            }
            worlds = None
            for trap, naive in raw.items():
                if naive != sql:
                    worlds = worlds or [*GeneratedDatabases(task)]
                    found[trap] += not passes(worlds, naive)
    assert min(found.values()) >= 3, found


def test_duckdb_answers_the_same() -> None:
    """Gold queries are portable; the script builds the same database."""
    duckdb = pytest.importorskip("duckdb")
    for level in LEVELS:
        for task in tasks(level, 6, start=500):
            schema = schema_of(task.metadata["seed"], level)
            rows = rows_of(schema, (task.metadata["seed"], 0, 0))
            with duckdb.connect(":memory:", config={"threads": 1}) as other:
                other.execute(as_script(schema, rows))
                db = in_sqlite(schema, rows)
                mine, theirs = db.execute(task.answer).fetchall(), other.execute(task.answer).fetchall()
                db.close()
            assert _close(mine, theirs), task.answer


def _close(mine: list[tuple[object, ...]], theirs: list[tuple[object, ...]]) -> bool:
    def key(rows: list[tuple[object, ...]]) -> list[str]:
        return sorted(repr([f"{c:.9g}" if isinstance(c, int | float) else c for c in row]) for row in rows)

    return key(mine) == key(theirs)


def test_tasks_are_distinct_and_quick_to_rebuild() -> None:
    made = [task for level in LEVELS for task in tasks(level, 200, start=900)]
    assert len({task.id for task in made}) == len(made) == len({(task.prompt, task.answer) for task in made})
    one = made[700]
    again = make_task(one.metadata["seed"], one.metadata["number"], one.difficulty)
    assert again == one
