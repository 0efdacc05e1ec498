"""Loaders of published formats, on small files of our own questions written in them."""

import json
from pathlib import Path
from typing import Any

import pytest

from turnwise.envs.core import split_of
from turnwise.envs.math.datasets import load_questions
from turnwise.errors import ConfigError, UnknownName

GSM8K = {
    "question": "Mia packs 3 boxes with 14 pens each and sells a third of the pens. How many pens are left?",
    "answer": "There are 3*14 = <<3*14=42>>42 pens.\nShe sells 42/3 = <<42/3=14>>14.\n42-14 = <<42-14=28>>28 are left.\n#### 28",
}
MATH = {
    "problem": "Find the slope of the line through $(0,1)$ and $(4,3)$.",
    "level": "Level 2",
    "type": "Algebra",
    "solution": "It rises $2$ over $4$, so the slope is $\\frac{2}{4}=\\boxed{\\frac{1}{2}}$.",
}
MATH_500 = {
    "problem": "Convert $(0,3)$ to polar coordinates.",
    "solution": "... $\\boxed{\\left( 3, \\frac{\\pi}{2} \\right)}.$",
    "answer": "\\left( 3, \\frac{\\pi}{2} \\right)",
    "subject": "Precalculus",
    "level": 5,
    "unique_id": "test/precalculus/0.json",
}
AIME_1 = {"ID": "2024-I-7", "Problem": "Find the sum of all primes below 20.", "Solution": "...", "Answer": 77}
AIME_2 = {"id": 61, "problem": "Find $1+2+\\dots+20$.", "answer": "210", "url": "none", "year": "2024"}
AIME_3 = {"question": "Find $3^5 \\bmod 100$.", "answer": "43"}


def written(file: Path, *rows: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("row", "answer", "level"),
    [
        (GSM8K, "28", 2),
        (MATH, r"\frac{1}{2}", 2),
        (MATH_500, r"\left( 3, \frac{\pi}{2} \right)", 5),
        (AIME_1, "77", 3),
        (AIME_2, "210", 1),
        (AIME_3, "43", 1),
        (GSM8K | {"answer": "#### 1,234"}, "1,234", 1),
        (MATH | {"level": "Level ?"}, r"\frac{1}{2}", 6),
    ],
)
def test_formats(tmp_path: Path, row: dict[str, Any], answer: str, level: int) -> None:
    (task,) = load_questions(written(tmp_path / "questions.jsonl", row))
    assert (task.answer, task.difficulty) == (answer, level)
    assert task.prompt in row.values()
    assert task.id.startswith("questions/")
    assert json.loads(json.dumps(task.metadata)) == task.metadata


def test_ids_come_from_the_content(tmp_path: Path) -> None:
    one = load_questions(written(tmp_path / "a.jsonl", GSM8K, MATH, "", GSM8K), name="ours")
    two = load_questions(written(tmp_path / "b.jsonl", MATH, MATH_500, GSM8K), name="ours")
    assert len(one) == 2 and {task.id for task in one} <= {task.id for task in two}
    assert len({task.id for task in two}) == 3


@pytest.mark.parametrize(
    ("name", "row", "asked", "split"),
    [
        ("gsm8k_test.jsonl", GSM8K, "auto", "test"),
        ("train.jsonl", GSM8K, "auto", "train"),
        ("latest.jsonl", GSM8K, "auto", None),
        ("train-test.jsonl", GSM8K, "auto", None),
        ("aime.jsonl", AIME_1, "test", "test"),
        ("test.jsonl", GSM8K | {"split": "train"}, "auto", "train"),
        ("test.jsonl", GSM8K, "hash", None),
    ],
)
def test_splits(tmp_path: Path, name: str, row: dict[str, Any], asked: Any, split: str | None) -> None:
    rows = [row | {"question": f"Question {n}?"} for n in range(40)] if "question" in row else [row]
    tasks = load_questions(written(tmp_path / name, *rows), split=asked)
    found = {split_of(task.id) for task in tasks}
    assert found == ({split} if split else {"train", "test"})
    assert len({task.id for task in tasks}) == len(tasks)


def test_a_folder_with_a_question_in_each_file(tmp_path: Path) -> None:
    written(tmp_path / "train" / "algebra" / "1.json", MATH)
    written(tmp_path / "test" / "precalculus" / "2.json", MATH_500)
    tasks = load_questions(tmp_path)
    assert [(split_of(task.id), task.difficulty) for task in tasks] == [("test", 5), ("train", 2)]
    listed = written(tmp_path / "list.json", json.dumps([AIME_1, AIME_2]))
    assert len(load_questions(listed)) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([GSM8K, '{"question": '], r"x\.jsonl:2: expected JSON: "),
        ([GSM8K, "", "[1]"], r"x\.jsonl:3: expected a JSON object, got list"),
        ([{"answer": "5"}], r"x\.jsonl:1: expected a 'question' or a 'problem' with text, got the keys answer"),
        ([{"question": "Why?"}], r"x\.jsonl:1: expected an 'answer' or a 'solution'"),
        ([{"question": "Why?", "answer": True}], r"x\.jsonl:1: expected an 'answer'"),
        ([{"problem": "Why?", "solution": "Because \\boxed{5"}], r"x\.jsonl:1: expected a \\boxed"),
        ([MATH | {"level": "hard"}], r"x\.jsonl:1: level: expected a number or 'Level 3', got 'hard'"),
        ([GSM8K | {"split": "dev"}], r"x\.jsonl:1: split: expected 'train' or 'test', got 'dev'"),
        ([], r"x\.jsonl: expected questions; there are none"),
        (["[" * 100_000], r"x\.jsonl:1: expected JSON"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_questions(written(tmp_path / "x.jsonl", *rows))


def test_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is nothing"):
        load_questions(tmp_path / "none.jsonl")
    (tmp_path / "bytes.jsonl").write_bytes(b'{"question": "\xff"}')
    with pytest.raises(ConfigError, match=r"bytes\.jsonl: expected UTF-8 text, got byte 0xff at 14"):
        load_questions(tmp_path / "bytes.jsonl")
    with pytest.raises(UnknownName, match="split of a data set"):
        load_questions(written(tmp_path / "x.jsonl", MATH), split="dev")  # pyright: ignore[reportArgumentType]
