"""Rows with a common beginning go through the model as a tree: every token once.

Siblings of a group share their prompt, forks share their past, and whole batches share instructions. What a causal model makes of
a token depends on the tokens before it alone, so equal prefixes are computed once and read by all rows that have them.

    rows      a b c d        tree   a b c d           a token's position is its depth, its context its ancestors,
              a b x y                  \\ x y          and c and x are both predicted from b
              a b x z                     \\ z

Attention runs row by row over the ancestors of the tokens that are new in the row (a dense mask over the whole tree would look at
every pair of branches only to throw it away), everything else once per token. Log-probabilities come back as [B, T]; a loss on
them has the very gradient of the unpacked rows, for the chain rule adds up what each reader of a token wants from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from turnwise.agents.engines.torch_attention import attending
from turnwise.agents.prefixes import walk
from turnwise.errors import ConfigError, Unsupported
from turnwise.trainers.batch import Batch
from turnwise.trainers.forward import CHUNK, Forward

__all__ = ["ROOM", "Forest", "TreeForward", "plant", "tree_batches"]

_ATTENTION = "turnwise_tree"
_MASK = 2**22
"""Elements of a mask; rows that would need a larger one attend from their roots on again, which needs none."""
ROOM = 8
"""Attention reads at most this many times `max_tokens` tokens in one forward pass."""


@dataclass(frozen=True, slots=True, eq=False)
class Branches:
    """Rows whose new tokens are about equally many: one call of attention."""

    queries: Tensor
    """[R, Q] nodes that are new in each row, or without a mask all of its nodes; 0 where it has fewer."""
    real: Tensor
    """[R, Q] bool: the new ones."""
    keys: Tensor
    """[R, S] nodes of each row from its root on; 0 beyond its end."""
    mask: Tensor | None
    """[R, 1, Q, S] bool, True for a query's ancestors and itself; None where the queries are the keys (plain causal)."""


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Rows as trees. N nodes: a token after the tokens before it."""

    tokens: Tensor
    """[N]"""
    depth: Tensor
    """[N] tokens before it."""
    parent: Tensor
    """[N] the node before it; itself at a root."""
    place: Tensor
    """[B, T] node of each token of the rows; 0 beyond a row's length."""
    branches: tuple[Branches, ...]
    order: Tensor
    """[N] where each node stands among the real queries of all branches, one after another."""


def plant(tokens: Tensor, lengths: Tensor) -> Forest:
    """[B, T] ids and [B] lengths -> the forest of their prefixes, on the device of the ids."""
    ids, ends = tokens.cpu().numpy(), lengths.cpu().numpy()
    place = np.zeros(ids.shape, dtype=np.int64)
    fresh = dict[int, int]()
    count, last = 0, 0
    for row, shared in walk(_texts(ids, ends)):
        place[row, :shared] = place[last, :shared]
        place[row, shared : ends[row]] = np.arange(count, count + ends[row] - shared)
        if shared < ends[row]:
            fresh[row] = shared
        count += int(ends[row]) - shared
        last = row
    flat, depth, parent = (np.zeros(count, dtype=np.int64) for _ in range(3))
    for row, start in fresh.items():
        new = slice(start, ends[row])
        flat[place[row, new]], depth[place[row, new]] = ids[row, new], np.arange(start, ends[row])
        parent[place[row, new]] = place[row, np.maximum(np.arange(start, ends[row]) - 1, 0)]
    branches = [_branches(place, ends, rows, fresh) for rows in _alike(fresh, ends)]
    served = np.concatenate([q[r] for q, r, _, _ in branches]) if branches else np.zeros(0, dtype=np.int64)
    order = np.empty_like(served)
    order[served] = np.arange(count)

    def there(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(tokens.device)

    return Forest(
        there(flat),
        there(depth),
        there(parent),
        there(place),
        tuple(Branches(there(q), there(r), there(k), None if m is None else there(m)) for q, r, k, m in branches),
        there(order),
    )


def tree_batches(batch: Batch, max_tokens: int) -> list[Tensor]:
    """Indices of rows that go through the model together, neighbours in the tree side by side; every row once.

    A part has at most `max_tokens` nodes (a single longer row goes alone).
    """
    if max_tokens < 1:
        raise ConfigError(f"max_tokens: expected at least 1, got {max_tokens}.")
    ids, ends = batch.tokens.cpu().numpy(), batch.lengths.cpu().numpy()
    parts: list[list[int]] = []
    nodes = width = 0
    for row, shared in walk(_texts(ids, ends)):
        new = int(ends[row]) - shared
        width = max(width, int(ends[row]))
        if parts and nodes + new <= max_tokens and (len(parts[-1]) + 1) * width <= ROOM * max_tokens:
            parts[-1].append(row)
            nodes += new
        else:
            parts.append([row])
            nodes = width = int(ends[row])
    return [torch.tensor(part, device=batch.lengths.device) for part in parts]


class TreeForward(Forward):
    """`Forward` over forests: the same numbers, each shared prefix computed once."""

    def __init__(
        self, model: PreTrainedModel, temperature: float = 1.0, *, chunk: int = CHUNK, checkpointing: bool = False
    ) -> None:
        """Raises Unsupported for a model that does not read positions and attention the usual way: it is tried once."""
        super().__init__(model, temperature, chunk=chunk, checkpointing=checkpointing)
        self._try()

    def hidden(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """As `Forward`."""
        ends = torch.full_like(tokens[:, 0], tokens.shape[1]) if lengths is None else lengths
        forest = plant(tokens, ends.clamp(min=1))
        return self._run(self._core.base_model, forest)[0][0][forest.place]

    def __call__(self, tokens: Tensor, mask: Tensor, *, entropy: bool = True) -> tuple[Tensor, Tensor]:
        """As `Forward`; nothing after a row's last masked token is looked at."""
        position = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
        forest = plant(tokens, (position * mask).amax(1).clamp(min=1))
        nodes = forest.place[mask].unique()
        before = forest.parent[nodes]
        out = self._run(self.model if self.head is None else self._core.base_model, forest)[0]
        chosen, spread = self._read(out[0][before], forest.tokens[nodes], entropy)

        def placed(values: Tensor) -> Tensor:
            per_node = values.new_zeros(len(forest.tokens)).index_put((nodes,), values)
            return torch.where(mask, per_node[forest.place], 0)

        return placed(chosen), placed(spread)

    def _run(self, module: Any, forest: Forest) -> Any:
        attention = partial(attending, self._core.config, _ATTENTION)
        with attention(), self._blocks(attention):
            return module(input_ids=forest.tokens[None], position_ids=forest.depth[None], use_cache=False, turnwise_forest=forest)

    @torch.no_grad()
    def _try(self) -> None:
        config = self._core.config
        window = (
            getattr(config, "sliding_window", None)
            if "sliding_attention" in (getattr(config, "layer_types", None) or ())
            else None
        )
        probe = torch.tensor([[1, 2, 3, 4], [1, 2, 0, 3]], device=self.model.device) % config.vocab_size
        try:
            want = self._core.base_model(input_ids=probe, use_cache=False)[0]
            got = self.hidden(probe)
        except (TypeError, KeyError, ValueError) as error:
            raise Unsupported(f'packing = "tree": {type(self.model).__name__} cannot run it ({error}); use "rows".') from error
        if window or not torch.allclose(got, want, rtol=0.02, atol=0.02 * float(want.abs().max())):
            why = "it attends within a window" if window else "its attention does not follow the tree"
            raise Unsupported(f'packing = "tree": {type(self.model).__name__} cannot run it: {why}; use "rows".')


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """[1, heads, N, width] queries and [1, key heads, N, width] keys -> [1, N, heads, width]."""
    forest = cast(Forest, kwargs["turnwise_forest"])
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # [N, heads, width]
    outputs: list[Tensor] = []
    for b in forest.branches:
        queries, keys, values = (x.transpose(1, 2) for x in (q[b.queries], k[b.keys], v[b.keys]))
        groups = q.shape[1] // k.shape[1]
        if groups > 1 and b.mask is not None and q.is_cuda:  # no CUDA kernel takes both, and torch falls back to all pairs
            keys, values, groups = keys.repeat_interleave(groups, 1), values.repeat_interleave(groups, 1), 1
        out = nn.functional.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=b.mask,
            is_causal=b.mask is None,
            scale=kwargs.get("scaling"),
            enable_gqa=groups > 1,
        )
        outputs.append(out.transpose(1, 2)[b.real])
    return torch.cat(outputs)[forest.order][None], None


AttentionInterface.register(_ATTENTION, _attend)


def _texts(ids: np.ndarray, ends: np.ndarray) -> list[np.ndarray]:
    """Rows without what is beyond their ends."""
    return [row[:end] for row, end in zip(ids, ends, strict=True)]


def _alike(fresh: dict[int, int], ends: np.ndarray) -> Iterator[list[int]]:
    """Rows that attend together: all new from the root on or none, numbers of new tokens within a factor of two."""
    for rooted in (True, False):
        rows = sorted((r for r, start in fresh.items() if (start == 0) is rooted), key=lambda r: (fresh[r] - int(ends[r]), r))
        part: list[int] = []
        for row in rows:
            if part and 2 * (ends[row] - fresh[row]) < ends[part[0]] - fresh[part[0]]:
                yield part
                part = []
            part.append(row)
        if part:
            yield part


def _branches(
    place: np.ndarray, ends: np.ndarray, rows: list[int], fresh: dict[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Fields of `Branches` for some rows."""
    starts, stops = np.array([fresh[r] for r in rows]), ends[rows]
    keys = place[rows, : int(stops.max())]
    masked = bool(starts.any()) and keys.size * int((stops - starts).max()) <= _MASK
    first = starts if masked else np.zeros_like(starts)
    at = first[:, None] + np.arange(int((stops - first).max()))
    there = at < stops[:, None]
    real = there & (at >= starts[:, None])
    queries = np.where(there, np.take_along_axis(keys, np.minimum(at, keys.shape[1] - 1), 1), 0)
    if not masked:
        return queries, real, keys, None
    mask = np.arange(keys.shape[1]) <= at[:, :, None]
    return queries, real, keys, mask[:, None]
