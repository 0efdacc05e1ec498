"""Tabular tasks for MLEngineering: data drawn from a known function, what a plain model makes of it, and how good one can be.

The target is a sum of straight lines, which the given model fits, and of parts that it cannot: what a group adds, a square, a
product, a season, a logarithm, a threshold, slopes of groups, values that are missing for a reason; and some training rows may be
plainly wrong. Each part is worth about as much as all the lines together.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from turnwise.envs.core import Split, split_of
from turnwise.types import Task

__all__ = ["LEVELS", "TARGET", "Data", "data_of", "make_ml_task", "program_with", "score_of"]

LEVELS: Mapping[int, int] = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6}
"""Level -> parts."""
TARGET = "target"
TRAIN, HELD_OUT = 600, 400
"""Rows. Every second held-out row is for the interim score, the others are for the final one."""
ENOUGH = 0.95
"""The share of the way from the given model to the best one that counts as all of it."""
_NAMES = ("width", "height", "weight", "age", "speed", "depth", "load", "angle", "heat", "price", "range", "rate", "dose", "span")
_GROUPS = ("north", "south", "east", "west", "hill", "coast", "city", "plain")
_PARTS = ("group", "square", "product", "season", "logarithm", "threshold", "slopes", "missing")
_OUTLIERS_FROM = 4
"""From this level on some training rows are wrong; that takes the place of one part."""
_NOISE = 0.45
Floats = npt.NDArray[np.float64]
Table = Mapping[str, list[str]]

_FUNCTIONS = """import csv
import numpy as np

def load(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {key: [row[key] for row in rows] for key in rows[0]}

def number(values):
    return np.array([float(v) if v else np.nan for v in values])

def filled(values):
    x = number(values)
    return np.where(np.isnan(x), np.nanmean(x), x)

def features(table):
    columns = [filled(table[key]) for key in NUMBERS]
    columns.append(np.ones(len(columns[0])))
PARTS
    return np.stack(columns, axis=1)

def fit(x, y):
    weights = np.linalg.lstsq(x, y, rcond=None)[0]
ROBUST
    return weights
"""
_MAIN = """
train, test = load("train.csv"), load("test.csv")
x, y = features(train), number(train["target"])
rest = y[1::2] - x[1::2] @ fit(x[::2], y[::2])
print("R2 on every second training row:", round(1 - rest.var() / y[1::2].var(), 3))
np.savetxt("predictions.csv", features(test) @ fit(x, y))
"""
_ROBUST = """    for _ in range(5):
        distance = abs(y - x @ weights)
        good = distance < 5 * np.median(distance)
        weights = np.linalg.lstsq(x[good], y[good], rcond=None)[0]
"""
_FEATURES = {
    "group": "    columns += [np.array([v == g for v in table[{group!r}]]) for g in {groups!r}[1:]]",
    "square": "    columns.append(filled(table[{a!r}]) ** 2)",
    "product": "    columns.append(filled(table[{a!r}]) * filled(table[{b!r}]))",
    "season": "    turn = 2 * np.pi * filled(table[{day!r}]) / {period}\n    columns += [np.sin(turn), np.cos(turn)]",
    "logarithm": "    columns.append(np.log(filled(table[{skewed!r}])))",
    "threshold": "    columns.append(filled(table[{a!r}]) > {at})",
    "slopes": "    columns += [np.array([v == g for v in table[{group!r}]]) * filled(table[{a!r}]) for g in {groups!r}]\n"
    "    columns += [np.array([v == g for v in table[{group!r}]]) for g in {groups!r}[1:]]",
    "missing": "    columns.append(np.isnan(number(table[{holes!r}])))",
    "outliers": "",
}
"""Part -> the lines of `features` that make it linear."""


@dataclass(frozen=True, slots=True)
class Data:
    """One task's files and what only the environment knows."""

    files: Mapping[str, bytes]
    target: Floats
    """[400] of the held-out rows."""
    baseline: tuple[float, float]
    """R2 of the given model on the interim and on the final rows."""
    best: tuple[float, float]
    """R2 of the function that the data was drawn from."""


def score_of(data: Data, predicted: Floats, *, final: bool) -> tuple[float, float]:
    """(R2, the share of the way from the given model to the best, in [0, 1]) on the final or the interim rows."""
    part = int(final)
    r2 = _r2(data.target[part::2], predicted[part::2])
    way = (r2 - data.baseline[part]) / (ENOUGH * (data.best[part] - data.baseline[part]))
    return r2, round(min(max(way, 0.0), 1.0), 4)


def _r2(target: Floats, predicted: Floats) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        r2 = 1.0 - float(np.mean((target - predicted) ** 2) / np.var(target))
    return r2 if np.isfinite(r2) else -np.inf


def program_with(spec: Mapping[str, Any], parts: int) -> str:
    """The given model (`parts` is 0), or one that knows that many of the parts; all of them make a perfect score."""
    known: Sequence[str] = spec["parts"][:parts]
    lines = [_FEATURES[part].format(**spec) for part in known if _FEATURES[part]]
    text = _FUNCTIONS.replace("NUMBERS", repr(spec["numbers"])).replace("PARTS\n", "".join(f"{line}\n" for line in lines))
    return text.replace("ROBUST\n", _ROBUST if "outliers" in known else "") + _MAIN


@lru_cache(maxsize=16)
def data_of(spec: str) -> Data:
    """The data of a task; `spec` is its metadata as JSON."""
    return _drawn(json.loads(spec))[0]


def _drawn(spec: Mapping[str, Any]) -> tuple[Data, float]:
    """(the data, the final score of the model that knows all parts)."""
    rng = np.random.default_rng(spec["seed"])
    rows = TRAIN + HELD_OUT
    table, columns = _columns(rng, spec, rows)
    effect = sum((rng.uniform(0.3, 0.6) * _unit(columns[key]) for key in spec["lines"]), np.zeros(rows))
    for part in spec["parts"]:
        effect = effect + _effect(rng, part, spec, columns)
    target = effect + _NOISE * rng.standard_normal(rows)
    shown = target.copy()
    if "outliers" in spec["parts"]:
        wrong = rng.permutation(TRAIN)[: TRAIN // 25]
        shown[wrong] += rng.choice([-1.0, 1.0], len(wrong)) * rng.uniform(15, 40, len(wrong))
    table[TARGET] = [f"{y:.4f}" for y in shown]
    train, test = _rows(table, 0, TRAIN), _rows(table, TRAIN, rows, without=TARGET)
    held_out = target[TRAIN:]
    given, full = (_predicted(program_with(spec, count), train, test) for count in (0, len(spec["parts"])))
    data = Data(
        {"train.csv": _csv(train), "test.csv": _csv(test), "baseline.py": program_with(spec, 0).encode()},
        held_out,
        (_r2(held_out[::2], given[::2]), _r2(held_out[1::2], given[1::2])),
        (_r2(held_out[::2], effect[TRAIN::2]), _r2(held_out[1::2], effect[TRAIN + 1 :: 2])),
    )
    return data, min(score_of(data, full, final=True)[1], score_of(data, full, final=False)[1])


def _columns(rng: np.random.Generator, spec: Mapping[str, Any], rows: int) -> tuple[dict[str, list[str]], dict[str, Any]]:
    """(the table as text, the true columns)."""
    columns: dict[str, Any] = {key: np.round(rng.normal(spec["centre"], 2.0, rows), 2) for key in spec["lines"]}
    columns[spec["skewed"]] = np.round(np.exp(rng.normal(1.0, 1.2, rows)) + 0.05, 3)
    columns[spec["day"]] = rng.integers(0, 360, rows).astype(np.float64)
    columns[spec["group"]] = rng.integers(0, len(spec["groups"]), rows)
    columns["holes"] = rng.random(rows) < 0.2
    table = {key: [f"{x:g}" for x in columns[key]] for key in spec["numbers"]}
    table[spec["group"]] = [spec["groups"][int(g)] for g in columns[spec["group"]]]
    if "missing" in spec["parts"]:
        table[spec["holes"]] = ["" if hole else x for x, hole in zip(table[spec["holes"]], columns["holes"], strict=True)]
        known = columns[spec["holes"]][~columns["holes"]]
        columns[spec["holes"]] = np.where(columns["holes"], known.mean(), columns[spec["holes"]])
    return table, columns


def _effect(rng: np.random.Generator, part: str, spec: Mapping[str, Any], columns: Mapping[str, Any]) -> Floats:
    a, b = columns[spec["a"]] - spec["centre"], columns[spec["b"]] - spec["centre"]
    groups = columns[spec["group"]]
    size = float(rng.uniform(1.0, 1.4))
    phase = float(rng.uniform(0, 2 * np.pi))
    levels = np.linspace(-1.0, 1.0, len(spec["groups"]))[rng.permutation(len(spec["groups"]))]
    made: Mapping[str, Any] = {
        "group": levels[groups],
        "square": a**2,
        "product": a * b,
        "season": np.sin(2 * np.pi * columns[spec["day"]] / spec["period"] + phase),
        "logarithm": np.log(columns[spec["skewed"]]),
        "threshold": (columns[spec["a"]] > spec["at"]).astype(np.float64),
        "slopes": levels[groups] * a,
        "missing": columns["holes"].astype(np.float64),
    }
    return size * _unit(made[part]) if part in made else np.zeros(len(a))


def _unit(x: Floats) -> Floats:
    return (x - x.mean()) / x.std()


def _rows(table: Table, start: int, stop: int, without: str = "") -> dict[str, list[str]]:
    return {key: values[start:stop] for key, values in table.items() if key != without}


def _csv(table: Table) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return file.getvalue().encode()


def _predicted(program: str, train: Table, test: Table) -> Floats:
    """What a model of ours says; its functions run right here, on the table instead of the files."""
    names: dict[str, Any] = {}
    exec(compile(program[: program.index(_MAIN)], "<model>", "exec"), names)
    features, fit = names["features"], names["fit"]
    return np.asarray(features(test) @ fit(features(train), names["number"](train[TARGET])), dtype=np.float64)


def make_ml_task(rng: np.random.Generator, level: int, split: Split | None = None) -> Task:
    """A random task of that level and split (None: either), whose parts are worth knowing and can be learned from its rows."""
    while True:
        spec = _spec(rng, level)
        text = json.dumps(spec)
        task_id = f"ml/{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
        if split is not None and split_of(task_id) != split:
            continue
        data, full = _drawn(spec)
        if full == 1.0 and min(best - given for best, given in zip(data.best, data.baseline, strict=True)) > 0.15:
            return Task(task_id, _prompt(spec, data), program_with(spec, len(spec["parts"])), level, {"spec": spec})


def _spec(rng: np.random.Generator, level: int) -> dict[str, Any]:
    names = [_NAMES[i] for i in rng.permutation(len(_NAMES))[:5]]
    kinds = [_PARTS[i] for i in rng.permutation(len(_PARTS))[: LEVELS[level]]]
    if level >= _OUTLIERS_FROM:
        kinds[-1] = "outliers"
    groups = sorted(_GROUPS[i] for i in rng.permutation(len(_GROUPS))[: rng.integers(4, 7)])
    centre = int(rng.integers(5, 20))
    lines, skewed = names[:4], names[4]
    a, b, holes = (lines[i] for i in rng.permutation(4)[:3])
    return {
        "seed": int(rng.integers(2**62)),
        "parts": kinds,
        "numbers": [*lines, skewed, "day"],
        "lines": lines,
        "skewed": skewed,
        "day": "day",
        "group": "group",
        "groups": groups,
        "centre": centre,
        "a": a,
        "b": b,
        "holes": holes,
        "period": int(rng.integers(7, 40)),
        "at": round(centre + float(rng.uniform(-1.0, 1.0)), 1),
    }


def _prompt(spec: Mapping[str, Any], data: Data) -> str:
    lines = ", ".join(spec["lines"])
    full = data.baseline[1] + ENOUGH * (data.best[1] - data.baseline[1])
    blank = f" Some values of {spec['holes']} are missing (empty)." if "missing" in spec["parts"] else ""
    wrong = " Some training rows may be plainly wrong." if "outliers" in spec["parts"] else ""
    return (
        f"Improve a small model. train.csv ({TRAIN} rows) has the numbers {lines}, {spec['skewed']} and day (0 to 359), the word "
        f"group ({', '.join(spec['groups'])}) and the number {TARGET}; test.csv ({HELD_OUT} rows) has all of them but {TARGET}."
        f"{blank}{wrong}\n"
        f"baseline.py fits straight lines to the numbers and writes predictions.csv: one predicted {TARGET} a line for the rows "
        f"of test.csv, in order. On the final half of those rows it reaches R2 = {data.baseline[1]:.3f}, which scores 0; "
        f"R2 = {full:.3f} scores 1, and in between it is a straight line. "
        "Columns may act in curves, thresholds and seasons, together, or by being missing."
    )
