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

from turnwise.errors import ConfigError

__all__ = ["LATEST", "State", "latest", "load", "save"]

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
    """Write `folder/step-N` and then the name of it into `folder/latest`: a run killed in between keeps the older one."""
    final = folder / f"step-{state.step}"
    part = folder / f".step-{state.step}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write_model(part, model, tokenizer)
    record = {"step": state.step, "learner": state.learner, "sampler": state.sampler, "extra": state.extra}
    record |= {"rewards": list(state.rewards), "admitted": list(state.admitted)}
    torch.save({**record, "weights": model.state_dict()}, part / "trainer.pt")
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
        raise ConfigError(f"resume {folder}: no checkpoint there; give the `checkpoints` folder of a run that has saved one.")
    return folder / marker.read_text().strip()


def load(path: Path, model: PreTrainedModel) -> State:
    """Put the weights into `model` and give back the rest."""
    try:
        saved = torch.load(path / "trainer.pt", map_location="cpu", weights_only=True)
    except OSError as error:
        raise ConfigError(f"resume {path}: trainer.pt cannot be read ({error}).") from error
    model.load_state_dict(saved["weights"])
    later = (saved.get("rewards", ()), saved.get("admitted", ()))
    return State(saved["step"], saved["learner"], saved["sampler"], saved["extra"], *later)
