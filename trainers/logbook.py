"""Where metrics go: JSONL always, TensorBoard where installed, Weights & Biases when asked for."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from turnwise.errors import ConfigError

__all__ = ["Logbook", "read_metrics"]


class _Writer(Protocol):
    def write(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


class Logbook:
    """Fans metrics out to every writer of a run."""

    def __init__(self, folder: Path, *, wandb: str = "", resume: bool = False, first: int = 0) -> None:
        """`wandb` is a project name ("" is off). On resume the lines of steps from `first` on are rewritten."""
        self._writers: list[_Writer] = [_Jsonl(folder / "metrics.jsonl", first if resume else 0)]
        self._seconds = _Jsonl(folder / "seconds.jsonl", first if resume else 0)
        board = _tensorboard(folder / "tensorboard", first if resume else None)
        if board is not None:
            self._writers.append(board)
        if wandb:
            self._writers.append(_Wandb(wandb, folder))

    def write(self, step: int, metrics: Mapping[str, float], seconds: Mapping[str, float]) -> None:
        """`seconds` go into a file of their own: metrics are equal for equal seeds."""
        for writer in self._writers:
            writer.write(step, metrics)
        self._seconds.write(step, seconds)

    def close(self) -> None:
        for writer in (*self._writers, self._seconds):
            writer.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, less one that a crash cut off; a number that was not finite is nan."""
    lines: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True), 1):
        if not line.endswith("\n"):
            break
        try:
            given = json.loads(line)
            lines.append({name: math.nan if value is None else value for name, value in given.items()} | {"step": given["step"]})
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}, line {number}: no metrics of a step; the file is damaged.") from error
    return lines


def _keep(path: Path, below: int) -> None:
    """Cut a file behind the lines of earlier steps. What stays is never written again: a kill cannot lose it."""
    whole = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n") or json.loads(line)["step"] >= below:
                break
            whole += len(line)
    os.truncate(path, whole)


class _Jsonl:
    def __init__(self, path: Path, keep_below: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            _keep(path, keep_below)
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        clean = {k: (v if math.isfinite(v) else None) for k, v in metrics.items()}
        self._file.write(json.dumps({"step": step, **clean}) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class _TensorBoard:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


def _tensorboard(folder: Path, purge_step: int | None) -> _TensorBoard | None:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  (optional)
    except ImportError:
        return None
    return _TensorBoard(SummaryWriter(str(folder), purge_step=purge_step))


class _Wandb:
    def __init__(self, project: str, folder: Path) -> None:
        try:
            import wandb  # noqa: PLC0415  # pyright: ignore[reportMissingImports]  (optional)
        except ImportError as error:
            raise ConfigError("wandb: the package is not installed; pip install 'turnwise[wandb]'.") from error
        self._run: Any = wandb.init(project=project, dir=str(folder))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()
