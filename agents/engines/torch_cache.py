"""Keys and values of conversations: slot tensors for those in the batch, immutable copies for those between turns.

Every layer has one tensor of keys and one of values, [slots, heads, capacity, width]. The sequences in the batch fill the slots
0 .. N-1 without holes, so that attention reads views and gathers nothing. Columns are positions: column p of a slot holds token
p.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

__all__ = ["Kept", "KeptSessions", "SlotCache"]

_BLOCK = 64  # capacities are multiples of it, so that tensors grow seldom

Layers = tuple[tuple[Tensor, Tensor], ...]


def round_up(count: int, block: int = _BLOCK) -> int:
    return -(-count // block) * block


class SlotCache(Cache):
    """What the model's forward writes to and attends over. Say with `aim` where the next forward's rows lie, then run it."""

    def __init__(self, most: int = 2**30, window: int = 2**30, budget: int = 2**60) -> None:
        """
        Args:
            most: sequences there will ever be.
            window: tokens of the longest of them.
            budget: slots times capacity never exceed it, unless what is asked for does.
        """
        super().__init__(layers=[])
        self._most, self._window, self._budget = most, window, budget
        self.slots = 0
        self.capacity = 0
        self._stores: list[tuple[Tensor, Tensor]] = []
        self._first = 0
        self._count = 0
        self._columns = 0
        self._positions = torch.empty(0)
        self._index: dict[int, Tensor] = {}
        self._lanes: dict[int, Tensor] = {}
        self.moved = 0
        """How often the memory of keys and values has moved."""

    def reserve(self, slots: int, columns: int) -> None:
        """Make room for `slots` sequences of `columns` tokens; what is stored of so much stays.

        Growing copies all, so slots double and columns grow by half, where there is room for it.
        """
        if slots <= self.slots and columns <= self.capacity:
            return
        if columns > self.capacity or slots * self.capacity > self._budget:
            room = self._budget // slots // _BLOCK * _BLOCK
            half_more = min(self.capacity + self.capacity // 2, self._window, room)
            self.capacity = round_up(max(columns, half_more))
        doubled = min(max(self.slots, 1 << (slots - 1).bit_length()), self._most)
        self.slots = max(slots, min(doubled, self._budget // self.capacity))
        for layer, (keys, values) in enumerate(self._stores):  # the old ones go one by one: never all of both at once
            self._stores[layer] = (self._grown(keys), self._grown(values))
        self._lanes.clear()
        self.moved += 1

    def aim(self, first: int, positions: Tensor, columns: int) -> None:
        """The next forward's rows are the slots from `first` on, their tokens go to `positions` [N, S], and they attend over
        the first `columns` columns (the mask says which of those each token sees)."""
        self._first, self._count, self._columns, self._positions = first, positions.shape[0], columns, positions
        self._index.clear()

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """[N, heads, S, width] new keys and values of a layer -> views of all that the rows attend over."""
        if layer_idx >= len(self._stores):
            self._stores.append((self._empty(key_states), self._empty(value_states)))
        keys, values = self._stores[layer_idx]
        heads = key_states.shape[1]
        index = self._index.get(heads)
        if index is None:
            index = self._index[heads] = (self._base(heads, keys.device) + self._positions[:, None, :]).view(-1)
        keys.view(-1, keys.shape[-1]).index_copy_(0, index, key_states.reshape(-1, key_states.shape[-1]))
        values.view(-1, values.shape[-1]).index_copy_(0, index, value_states.reshape(-1, value_states.shape[-1]))
        rows = slice(self._first, self._first + self._count)
        return keys[rows, :, : self._columns], values[rows, :, : self._columns]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` columns of one slot over another."""
        for keys, values in self._stores:
            keys[target, :, :length] = keys[source, :, :length]
            values[target, :, :length] = values[source, :, :length]

    def copy_out(self, slot: int, length: int) -> Layers:
        return tuple((keys[slot, :, :length].clone(), values[slot, :, :length].clone()) for keys, values in self._stores)

    def copy_in(self, slot: int, layers: Layers, length: int) -> None:
        for (keys, values), (kept_keys, kept_values) in zip(self._stores, layers, strict=True):
            keys[slot, :, :length] = kept_keys[:, :length]
            values[slot, :, :length] = kept_values[:, :length]

    def clear(self) -> None:
        """Give the memory back."""
        self.slots = self.capacity = 0
        self._stores.clear()
        self._lanes.clear()
        self._index.clear()
        self.moved += 1

    @property
    def token_bytes(self) -> int:
        """Memory that one token takes over all layers; 0 before the first forward."""
        return sum(t.shape[1] * t.shape[3] * t.element_size() for pair in self._stores for t in pair)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._columns  # only asked for by models that were given no positions; they always are

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        return self._columns, 0

    def _base(self, heads: int, device: torch.device) -> Tensor:
        """[N, heads, 1] flat index of column 0 of each row and head."""
        lanes = self._lanes.get(heads)
        if lanes is None:
            lanes = self._lanes[heads] = (
                torch.arange(self.slots * heads, device=device).view(self.slots, heads, 1) * self.capacity
            )
        return lanes[self._first : self._first + self._count]

    def _empty(self, like: Tensor) -> Tensor:
        # zeros, not empty: a NaN in a column that the mask hides would still reach the result
        return like.new_zeros(self.slots, like.shape[1], self.capacity, like.shape[3])

    def _grown(self, old: Tensor) -> Tensor:
        new = self._empty(old)
        slots, columns = min(len(old), self.slots), min(old.shape[2], self.capacity)
        new[:slots, :, :columns] = old[:slots, :, :columns]
        return new


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A conversation's cache between turns; never written to, so forks share it."""

    ids: tuple[int, ...]
    """[T] the tokens whose keys and values these are."""
    layers: Layers
    """Per layer keys and values, each [heads, T, width]."""

    def shared(self, ids: Sequence[int]) -> int:
        """How many tokens at the start of `ids` are these."""
        limit = min(len(self.ids), len(ids))
        if tuple(ids[:limit]) == self.ids[:limit]:
            return limit
        return next(i for i in range(limit) if ids[i] != self.ids[i])


class KeptSessions:
    """Caches by session name, the least recently used dropped beyond a number of tokens; shared ones count once."""

    def __init__(self) -> None:
        self._by_name: OrderedDict[str, Kept] = OrderedDict()
        self._holders: dict[int, int] = {}
        self.tokens = 0

    def get(self, name: str) -> Kept | None:
        kept = self._by_name.get(name)
        if kept is not None:
            self._by_name.move_to_end(name)
        return kept

    def put(self, name: str, kept: Kept, limit: int) -> None:
        """Keep it, then drop the oldest until at most `limit` tokens are held."""
        self.drop(name)
        self._by_name[name] = kept
        holders = self._holders.get(id(kept), 0)
        self._holders[id(kept)] = holders + 1
        self.tokens += 0 if holders else len(kept.ids)
        while self.tokens > limit:
            self.drop(next(iter(self._by_name)))

    def drop(self, name: str) -> None:
        kept = self._by_name.pop(name, None)
        if kept is None:
            return
        holders = self._holders.pop(id(kept)) - 1
        if holders:
            self._holders[id(kept)] = holders
        else:
            self.tokens -= len(kept.ids)

    def clear(self) -> None:
        self._by_name.clear()
        self._holders.clear()
        self.tokens = 0
