"""Checkpoints: a folder that Hugging Face can load, and beside it what an exact resume needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from turnwise.errors import ConfigError, InfraError

__all__ = ["LATEST", "State", "latest", "load", "read", "save", "write_model"]

LATEST = "latest"
"""The file that names the newest checkpoint."""


@dataclass(frozen=True, slots=True)
class State:
    """All of a run that is not in the model's weights. Random numbers need none: they follow from the seed and the step."""

    step: int
    """The next step to run."""
    learner: Mapping[str, Any]
    sampler: Mapping[str, Any]
    extra: Mapping[str, Any]
    """What the caller wants back: the curve so far, the results of earlier stages."""
    rewards: Sequence[Mapping[str, Any]] = ()
    """States of the reward shapers."""
    admitted: Sequence[Mapping[str, Any]] = ()
    """What was rolled out ahead and is not learned from yet (`recording.pack_admitted`)."""


def save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, state: State) -> Path:
    """Write `folder/step-N` and then the name of it into `folder/latest`: a run killed in between keeps the older one.

    Raises InfraError if it cannot be written (a full disk); the older ones are whole.
    """
    final = folder / f"step-{state.step}"
    part = folder / f".step-{state.step}.part"
    shutil.rmtree(part, ignore_errors=True)
    record = {"step": state.step, "learner": state.learner, "sampler": state.sampler, "extra": state.extra}
    record |= {"rewards": list(state.rewards), "admitted": list(state.admitted)}
    try:
        part.mkdir(parents=True)
        write_model(part, model, tokenizer)
        torch.save({**record, "weights": model.state_dict()}, part / "trainer.pt")
    except Exception as error:  # the boundary: three libraries write, and each has errors of its own for a disk that is full
        shutil.rmtree(part, ignore_errors=True)
        mend = "make room and go on by --resume from the checkpoint before, if there is one"
        raise InfraError("checkpoint", f"{final} cannot be written ({type(error).__name__}: {error}); {mend}.") from error
    shutil.rmtree(final, ignore_errors=True)
    os.replace(part, final)
    (folder / f"{LATEST}.tmp").write_text(final.name)
    os.replace(folder / f"{LATEST}.tmp", folder / LATEST)
    return final


def write_model(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """A Hugging Face checkpoint (adapters alone for a model with LoRA)."""
    cast(Any, model).save_pretrained(folder)
    cast(Any, tokenizer).save_pretrained(folder)


def latest(folder: Path) -> Path:
    """The newest checkpoint in a run's folder; ConfigError if there is none."""
    marker = folder / LATEST
    if not marker.is_file():
        raise ConfigError(f"resume {folder}: no checkpoint there; was the run stopped before it had saved one?")
    name = marker.read_text(encoding="utf-8", errors="replace").strip()
    if not name or not (folder / name / "trainer.pt").is_file():
        raise ConfigError(f"resume {folder}: `{LATEST}` names {name!r}, which is no checkpoint. {_others(folder, name)}")
    return folder / name


def read(path: Path) -> State:
    """All but the weights. Raises ConfigError for a checkpoint that is damaged."""
    return _state(_loaded(path, mmap=True))


def load(path: Path, model: PreTrainedModel) -> State:
    """Put the weights into `model` and give back the rest. Raises ConfigError for one that is damaged or another model's."""
    saved = _loaded(path)
    try:
        model.load_state_dict(saved["weights"])
    except RuntimeError as error:
        raise ConfigError(f"resume {path}: its weights are those of another model: {error}") from error
    return _state(saved)


def _state(saved: Mapping[str, Any]) -> State:
    later = (saved.get("rewards", ()), saved.get("admitted", ()))
    return State(saved["step"], saved["learner"], saved["sampler"], saved["extra"], *later)


def _loaded(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    try:
        saved: Any = torch.load(path / "trainer.pt", map_location="cpu", weights_only=True, mmap=mmap)
        missing = {"step", "learner", "sampler", "extra", "weights"} - set(saved)
    except Exception as error:  # the boundary: torch raises whatever a damaged file makes it raise
        says = f"trainer.pt cannot be read ({type(error).__name__}: {error})"
        raise ConfigError(f"resume {path}: {says}. {_others(path.parent, path.name)}") from error
    if missing:
        raise ConfigError(f"resume {path}: trainer.pt holds no {', '.join(sorted(missing))}. {_others(path.parent, path.name)}")
    return saved


def _others(folder: Path, name: str) -> str:
    """The mend: an older one."""
    whole = [p for p in folder.glob("step-*") if p.name != name and (p / "trainer.pt").is_file()]
    older = sorted(whole, key=lambda p: int(p.name.removeprefix("step-")), reverse=True)
    if not older:
        return "There is no other; begin a new run."
    return f"To go on from an older one: echo {older[0].name} > {folder / LATEST}"
