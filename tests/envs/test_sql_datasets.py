"""Spider and BIRD folders, small ones of our own making, in the format in which the data sets are published."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from turnwise.envs.core import split_of
from turnwise.envs.sql.datasets import FileDatabases, load_questions, notes_of
from turnwise.envs.sql.sql import SQL
from turnwise.errors import ConfigError, EnvFailure

SCRIPT = """
CREATE TABLE boat(Boat_ID INTEGER PRIMARY KEY, Name TEXT, len_m REAL, Harbour_ID INTEGER REFERENCES harbour(Harbour_ID));
CREATE TABLE harbour(Harbour_ID INTEGER PRIMARY KEY, Town TEXT);
INSERT INTO harbour VALUES (1, 'Bergen'), (2, 'Cork');
INSERT INTO boat VALUES (1, 'Gull', 12.5, 1), (2, 'Tern', 9.0, 1), (3, 'Auk', 22.25, 2), (4, 'Skua', 14.0, 2);
"""
ROWS: list[dict[str, Any]] = [
    {"db_id": "boats", "question": "How many boats are there?", "query": "SELECT count(*) FROM boat", "sql": {"except": None}},
    {"db_id": "boats", "question": "Names by length?", "query": "SELECT Name FROM boat ORDER BY len_m DESC"},
    {
        "db_id": "boats",
        "question": "Boats per town?",
        "query": "SELECT T2.Town, count(*) FROM boat AS T1 JOIN harbour AS T2 ON T1.Harbour_ID = T2.Harbour_ID GROUP BY T2.Town",
    },
    {
        "db_id": "boats",
        "question": "Longer than average?",
        "query": "SELECT Name FROM boat WHERE len_m > (SELECT avg(len_m) FROM boat)",
    },
]


def built(path: Path, script: str = SCRIPT) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(script)


@pytest.fixture
def spider(tmp_path: Path) -> Path:
    built(tmp_path / "database" / "boats" / "boats.sqlite")
    (tmp_path / "train_spider.json").write_text(json.dumps(ROWS[:2]))
    (tmp_path / "dev.json").write_text(json.dumps(ROWS[2:]))
    tables = {
        "db_id": "boats",
        "table_names_original": ["boat", "harbour"],
        "column_names_original": [[-1, "*"], [0, "Boat_ID"], [0, "Name"], [0, "len_m"], [0, "Harbour_ID"], [1, "Harbour_ID"]],
        "column_names": [[-1, "*"], [0, "boat id"], [0, "name"], [0, "length in metres"], [0, "harbour id"], [1, "harbour id"]],
    }
    (tmp_path / "tables.json").write_text(json.dumps([tables]))
    (tmp_path / "dev_gold.sql").write_text("SELECT 1\tboats\n")
    return tmp_path


@pytest.fixture
def bird(tmp_path: Path) -> Path:
    folder = tmp_path / "dev_databases" / "boats"
    built(folder / "boats.sqlite")
    (folder / "database_description").mkdir()
    described = "original_column_name,column_name,column_description,data_format,value_description\n"
    (folder / "database_description" / "Boat.csv").write_bytes(
        b"\xef\xbb\xbf"
        + (described + 'len_m,length,the length of the boat,real,"in metres,\nwithout bowsprit"\nName,,,text,\n').encode()
    )
    row = {
        "question_id": 7,
        "db_id": "boats",
        "question": "Which boats are long?",
        "evidence": "long refers to len_m > 13",
        "SQL": "SELECT Name FROM boat WHERE len_m > 13",
        "difficulty": "moderate",
    }
    (tmp_path / "dev.json").write_text(json.dumps([row]))
    (tmp_path / "dev_tables.json").write_text("[]")
    return tmp_path


def test_spider(spider: Path) -> None:
    tasks = load_questions(spider)
    assert [(t.prompt, t.answer, t.difficulty) for t in tasks] == [
        (row["question"], row["query"], level) for row, level in zip([*ROWS[2:], *ROWS[:2]], (3, 4, 1, 1), strict=True)
    ]
    assert [split_of(t.id) for t in tasks] == ["test", "test", "train", "train"]
    assert notes_of(tasks[0].metadata["data"]["database"]) == {"boat.len_m": "length in metres"}
    assert [t.prompt for t in load_questions(spider / "dev.json")] == [row["question"] for row in ROWS[2:]]
    assert {split_of(t.id) for t in load_questions(spider, split="train")} == {"train"}
    assert all(t.id.startswith("a/") for t in load_questions(spider, name="a"))


def test_bird(bird: Path) -> None:
    (task,) = load_questions(bird)
    assert task.prompt == "Which boats are long?\nEvidence: long refers to len_m > 13"
    assert (task.answer, task.difficulty, split_of(task.id)) == ("SELECT Name FROM boat WHERE len_m > 13", 4, "test")
    assert notes_of(task.metadata["data"]["database"]) == {"Boat.len_m": _NOTE}


_NOTE = "length; the length of the boat; in metres, without bowsprit"


def test_played(bird: Path) -> None:
    env = SQL(data=str(bird), split="test", max_turns=20)
    env.reset(seed=0)
    assert "- len_m: " + _NOTE in env.step(env.format.call("describe", {"table": "boat"}))[0]
    assert "Did you mean boat.len_m?" in env.step(env.format.call("query", {"sql": "SELECT len FROM boat"}))[0]
    over, reward = False, 0.0
    while not over:
        _, reward, over, _, _ = env.step(env.expert_action())
    assert reward == 1.0
    for wrong in (
        "VALUES ('Auk'), ('Skua')",
        "SELECT Name FROM boat WHERE len_m > 12.9",
        "SELECT Name FROM boat WHERE Harbour_ID = 2",
    ):
        env.reset(seed=0)
        observation, reward, *_ = env.step(env.format.final(wrong))
        assert reward == 0.0, (wrong, observation)
    with pytest.raises(ConfigError, match="no train question among its 1"):
        env.reset(options={"split": "train"})
    env.close()


def test_databases_of_a_test_suite_are_the_neighbours(spider: Path) -> None:
    folder = spider / "database" / "boats"
    built(folder / "boats_1.sqlite", SCRIPT.replace("(4, 'Skua', 14.0, 2)", "(4, 'Skua', 14.0, 2), (5, 'Coot', 7.0, 1)"))
    task = next(t for t in load_questions(spider) if t.answer == ROWS[0]["query"])
    assert [w.gold.answers[0].table.rows for w in FileDatabases(task)] == [((4,),), ((5,),)]


def test_neighbours_are_made_for_small_databases(spider: Path) -> None:
    task = next(t for t in load_questions(spider) if t.answer == ROWS[0]["query"])
    counts = [w.gold.answers[0].table.rows for w in FileDatabases(task)]
    assert counts[0] == ((4,),) and 2 <= len(counts) <= 4 and len(set(counts)) > 1


def test_a_large_database_is_read_where_it_lies(spider: Path) -> None:
    folder = spider / "database" / "boats"
    filler = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000) SELECT hex(zeroblob(300)) FROM n"
    (folder / "boats.sqlite").unlink()
    built(folder / "boats.sqlite", f"{SCRIPT}; CREATE TABLE filler AS {filler}")
    for path in (folder.parent, folder, folder / "boats.sqlite"):
        path.chmod(0o755)
    before = (folder / "boats.sqlite").read_bytes()
    assert len(before) > 1 << 20
    task = next(t for t in load_questions(spider) if t.answer == ROWS[0]["query"])
    assert [w.content for w in FileDatabases(task)] == [(folder / "boats.sqlite").resolve()]
    for needs in ("namespaces", "process"):
        env = SQL(data=str(spider), needs=needs)
        env.reset(seed=0, options={"task": task})
        assert "(3 rows)" in env.step(env.format.call("describe", {"table": "boat"}))[0]
        assert "read-only" in env.step(env.format.call("query", {"sql": "DELETE FROM boat"}))[0]
        twin = env.fork()
        assert twin.step(env.format.final("SELECT count(*) + 1 FROM boat"))[1] == 0.0
        twin.close()
        assert env.step(env.format.final("SELECT count(Name) FROM boat"))[1] == 1.0
        env.close()
    assert (folder / "boats.sqlite").read_bytes() == before and len([*folder.iterdir()]) == 1


def test_a_gold_query_that_fails_is_a_failure(spider: Path) -> None:
    (spider / "dev.json").write_text(json.dumps([{**ROWS[0], "query": "SELECT count(*) FROM ship"}]))
    env = SQL(data=str(spider / "dev.json"), split="test")
    env.reset(seed=0)
    with pytest.raises(EnvFailure, match=r"gold: .*No such table: ship"):
        env.step("<answer>SELECT 1</answer>")
    env.close()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"db_id": "boats", "question": "?"}, r"dev.json: question 1: expected db_id, question and query"),
        ({**ROWS[0], "db_id": "cars"}, r"expected the database cars/cars.sqlite below the folder"),
        ([], r"expected a JSON object"),
    ],
)
def test_what_cannot_be_read(spider: Path, row: Any, message: str) -> None:
    (spider / "dev.json").write_text(json.dumps([row]))
    with pytest.raises(ConfigError, match=message):
        load_questions(spider / "dev.json")


def test_a_folder_without_questions(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected dev\.json"):
        load_questions(tmp_path)
    with pytest.raises(ConfigError, match="nowhere"):
        load_questions(tmp_path / "nowhere")
