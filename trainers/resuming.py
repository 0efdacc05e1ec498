"""What a run finds in its folder, looked at before anything there is changed: it goes on as it was, or says why it cannot."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turnwise.errors import ConfigError
from turnwise.trainers.checkpoint import State
from turnwise.trainers.logbook import read_metrics
from turnwise.trainers.recipe import Recipe, dump

__all__ = ["changes", "check_files", "cut", "prepare", "sizes", "write_recipe", "written"]

_GROWING = ("trajectories.jsonl", "events.jsonl")
"""Files that a checkpoint knows the length of; metrics.jsonl has a line for each step."""
_FIXED = ("seed", "policy", "lora", "critic")
"""What a checkpoint holds the consequences of."""
_PLACES = ("policy.device", "policy.dtype")


def prepare(out: Path, resume: bool, recipe: Recipe) -> None:
    """A folder for a new run, or the one of a run that goes on, as it is. Raises ConfigError where a new run would mix with an
    old one."""
    used = [name for name in ("metrics.jsonl", *_GROWING) if (out / name).exists()]
    if not resume and used:
        mend = "choose another folder, or go on with it by --resume"
        if not (out / "checkpoints" / "latest").is_file():
            mend = "it was stopped before its first checkpoint, so there is nothing to go on with; choose another folder"
        raise ConfigError(f"{out}: a run is there already; {mend}.")
    out.mkdir(parents=True, exist_ok=True)
    if not resume:
        write_recipe(out, recipe)


def write_recipe(out: Path, recipe: Recipe) -> None:
    """All of it or nothing: a recipe that is cut off may be a valid one of another run."""
    part = out / ".recipe.toml.part"
    part.write_text(dump(recipe), encoding="utf-8")
    os.replace(part, out / "recipe.toml")


def written(folder: Path) -> str:
    """The recipe as it was written when the run began or went on."""
    return (folder / "recipe.toml").read_text(encoding="utf-8")


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of what grows during a run, for a checkpoint."""
    return {name: (folder / name).stat().st_size if (folder / name).is_file() else 0 for name in _GROWING}


def check_files(folder: Path, state: State) -> None:
    """Raises ConfigError if what was written before the checkpoint is not all there."""
    for name, size in state.extra["bytes"].items():
        there = (folder / name).stat().st_size if (folder / name).is_file() else 0
        if there < size:
            raise ConfigError(
                f"resume {folder}: {name} has {there} bytes, and had {size} when step-{state.step} was written; bring it back, "
                "or begin a new run."
            )
    metrics = folder / "metrics.jsonl"
    steps = [line["step"] for line in read_metrics(metrics)] if metrics.is_file() else []
    if steps[: state.step] != list(range(state.step)):
        raise ConfigError(
            f"resume {folder}: metrics.jsonl does not hold the {state.step} steps before step-{state.step}, one a line; bring it "
            "back, or begin a new run."
        )


def cut(folder: Path, state: State) -> None:
    """Drop what was written after the checkpoint: those steps are played again."""
    for name, size in state.extra["bytes"].items():
        if (folder / name).is_file():
            os.truncate(folder / name, size)


def changes(recipe: Recipe, state: State) -> list[str]:
    """What is set otherwise than when the checkpoint was written, as in "steps: 6, was 3".

    Raises ConfigError for what a run cannot change on its way: it would be neither the old one nor a new one.
    """
    if "recipe" not in state.extra:
        return []  # written before it was kept
    old, new = (_flat(tomllib.loads(text)) for text in (state.extra["recipe"], dump(recipe)))
    differ = sorted(key for key in {**old, **new} if old.get(key) != new.get(key))
    says = [f"{key}: {new.get(key, 'nothing')!r}, was {old.get(key, 'nothing')!r}" for key in differ]
    for key, words in zip(differ, says, strict=True):
        if key.split(".")[0] in _FIXED and key not in _PLACES:
            mend = 'set it back, or begin a new run (from its model: policy = { name = "pretrained", path = "RUN/model" })'
            raise ConfigError(f"resume step-{state.step}: {words}; a run cannot go on with another {key.split('.')[0]}: {mend}.")
    return says


def _flat(table: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in table.items():
        out |= _flat(value, f"{above}{key}.") if isinstance(value, Mapping) else {above + key: value}
    return out
