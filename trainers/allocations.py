"""Counting the bytes of tensors that are alive, by looking at what each operation gives back."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Allocations"]


class Allocations(TorchDispatchMode):
    """Inside, every storage that an operation makes is counted until it is freed, on any device.

    Storages made before do not count, nor what an operation uses within itself. Backward passes count where they run in
    the calling thread: on a CPU and on "meta", not on a GPU.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        """Bytes."""
        self.peak = 0
        self.largest = 0
        """Bytes of the largest single storage."""
        self._seen: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def count(self, tensor: torch.Tensor) -> None:
        """Take a tensor into account that was made before, or elsewhere."""
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._seen:
            return
        self._seen[key] = weakref.ref(storage, lambda _: self._freed(key, size))
        self.live += size
        self.peak = max(self.peak, self.live)
        self.largest = max(self.largest, size)

    def _freed(self, key: int, size: int) -> None:
        del self._seen[key]
        self.live -= size

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {id(tensor.untyped_storage()) for tensor in _tensors((args, kwargs))}
        for tensor in _tensors(out):
            if id(tensor.untyped_storage()) not in given:
                self.count(tensor)
        return out


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
