"""What travels between processes: trajectories without their chains, weights as plain bytes, a model without its weights.

A chain of turns is as deep as the episode is long, deeper than pickle goes; so turns travel as a list. Weights travel as arrays
of bytes, which Ray's object store hands to every process of a machine without a copy; numpy knows no bfloat16.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from turnwise.agents.episode import Problem
from turnwise.types import Failure, Spent, Task, Trajectory, Turn

__all__ = ["Done", "Job", "Said", "Stored", "emptied", "filled", "flat", "grown", "packed", "size_of", "store", "unpacked"]


# --- episodes -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Trajectories; every turn once, parents first."""

    turns: tuple[tuple[Turn, int], ...]
    """Without parents, and the index of each one's parent; -1 is none."""
    trajectories: tuple[tuple[Trajectory, int], ...]
    """Without leaves, and the index of each one's leaf; -1 is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What a worker is to play: all of a group, or a single episode."""

    key: int
    problem: Problem
    """Without its past."""
    past: Rows
    seed: int
    single: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """What came of a job."""

    key: int
    task: Task
    rows: Rows
    spent: Spent
    ended: tuple[int, ...]
    """Which trajectories were played (the others were recalled), in the order of their ends."""
    retried: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """A worker's word in between: for people, or "", which only says that it lives."""

    text: str = ""


def flat(trajectories: Sequence[Trajectory]) -> Rows:
    """See `Rows`; `grown` gives the trajectories back, with what they share."""
    places: dict[int, int] = {}
    turns: list[tuple[Turn, int]] = []
    for trajectory in trajectories:
        for turn in trajectory.turns:
            if id(turn) not in places:
                places[id(turn)] = len(turns)
                turns.append((replace(turn, parent=None), places[id(turn.parent)] if turn.parent else -1))
    leaves = tuple((replace(t, leaf=None), places[id(t.leaf)] if t.leaf else -1) for t in trajectories)
    return Rows(tuple(turns), leaves)


def grown(rows: Rows) -> tuple[Trajectory, ...]:
    turns: list[Turn] = []
    for turn, parent in rows.turns:
        turns.append(replace(turn, parent=turns[parent] if parent >= 0 else None))
    return tuple(replace(t, leaf=turns[leaf] if leaf >= 0 else None) for t, leaf in rows.trajectories)


# --- weights --------------------------------------------------------------------------------------------------------------

Packed = Mapping[str, tuple[Any, str, tuple[int, ...]]]
"""By name: bytes (uint8 array), dtype, shape."""


def packed(weights: Mapping[str, Any]) -> Packed:
    """Tied weights stand once, under the name that comes first."""
    seen: set[int] = set()
    out: dict[str, tuple[Any, str, tuple[int, ...]]] = {}
    for name, tensor in weights.items():
        if tensor.data_ptr() not in seen or not tensor.numel():
            seen.add(tensor.data_ptr())
            plain = cast(Tensor, tensor).detach().to("cpu").contiguous()
            out[name] = (plain.reshape(-1).view(torch.uint8).numpy(), str(plain.dtype).removeprefix("torch."), tuple(plain.shape))
    return out


def size_of(arrays: Packed) -> int:
    """In bytes."""
    return sum(int(array.nbytes) for array, _, _ in arrays.values())


def unpacked(arrays: Packed) -> dict[str, Tensor]:
    """Tensors over the same bytes; they are to be read only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return {
            name: torch.from_numpy(array).view(getattr(torch, dtype)).reshape(shape)
            for name, (array, dtype, shape) in arrays.items()
        }


class Stored(Mapping[str, Tensor]):
    """Weights in Ray's object store. They are brought here only if somebody looks at them."""

    def __init__(self, ref: Any, size: int) -> None:
        """`ref` is of what `packed` gives; `size` in bytes."""
        self.ref, self.size = ref, size
        self._tensors: dict[str, Tensor] | None = None

    @property
    def _here(self) -> dict[str, Tensor]:
        import ray  # noqa: PLC0415  (optional)

        if self._tensors is None:
            self._tensors = unpacked(cast(Packed, ray.get(self.ref)))
        return self._tensors

    def __getitem__(self, name: str) -> Tensor:
        return self._here[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._here)

    def __len__(self) -> int:
        return len(self._here)


def store(weights: Mapping[str, Any]) -> Stored:
    """Into the object store, once; what is there already stays."""
    import ray  # noqa: PLC0415  (optional)

    if isinstance(weights, Stored):
        return weights
    arrays = packed(weights)
    return Stored(ray.put(arrays), size_of(arrays))


# --- a model --------------------------------------------------------------------------------------------------------------


def emptied(model: nn.Module) -> nn.Module:
    """The model without the numbers of its parameters; buffers, on the CPU, and everything else are there."""
    memo: dict[int, Any] = {id(p): nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in model.parameters()}
    memo |= {id(b): b.detach().to("cpu", copy=True) for b in model.buffers()}
    return copy.deepcopy(model, memo)


def filled(model: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """An `emptied` model with parameters again."""
    memo: dict[int, Any] = {id(p): nn.Parameter(torch.empty_like(p, device="cpu"), p.requires_grad) for p in model.parameters()}
    whole = copy.deepcopy(model, memo)
    own = whole.state_dict()
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(tensor)
    return whole
