"""The synchronous heart of the torch engine: sequences that join, are decoded together one token at a time, and leave.

Invariants: `rows[i]` lies in slot i of the cache; the first `row.length` columns of it hold that many of `row.ids`;
between two calls every row in the batch has exactly one token that was not yet forwarded, its last.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor, nn

from turnwise.agents.engines.torch_attention import SLOT_ATTENTION, attending
from turnwise.agents.engines.torch_cache import Kept, KeptSessions, SlotCache, round_up
from turnwise.agents.engines.torch_row import Row
from turnwise.agents.engines.torch_sampling import Drawn, RowSampling, draw
from turnwise.agents.engines.torch_steps import FixedStep, FixedSteps, recorder_for
from turnwise.errors import Unsupported

__all__ = ["Batch", "EngineStats", "Model"]

_PREFILL_TOKENS = 8192  # most tokens, padding included, of the sequences that are prefilled together
_MASK_ELEMENTS = 2**24  # longer prefills are cut so that no mask is larger
_SHARED = 32  # a beginning shared with another sequence is copied, not computed, if it saves more than so many tokens


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What an engine has done since it was made."""

    forwards: int = 0
    """Forward passes of the model, of all kinds."""
    prefill_tokens: int = 0
    """Prompt tokens computed."""
    reused_tokens: int = 0
    """Prompt tokens whose keys and values were still there from the turn before."""
    decode_tokens: int = 0
    """Tokens sampled."""
    decode_rows: int = 0
    """Rows of all decoding forwards; divided by their number it is the mean batch size."""
    scored_tokens: int = 0
    """Targets of `score`."""
    scoring_tokens: int = 0
    """Tokens computed for them, contexts included."""


class Model:
    """A Hugging Face causal language model as the engine calls it: in evaluation mode and without gradients."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        inner = cast(Any, module).get_base_model() if hasattr(module, "get_base_model") else module
        accepted = signature(inner.forward).parameters
        missing = {"position_ids", "past_key_values", "attention_mask"} - set(accepted)
        if missing:
            name = type(inner).__name__
            raise Unsupported(f"TorchEngine: {name}.forward takes no {', '.join(sorted(missing))}; use a causal LM that does.")
        self._last = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}
        weight = next(module.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        self._config: Any = inner.config
        self.kept_bytes = 2**33 if self.device.type == "cuda" else 2**31
        """Most memory for the keys and values of conversations between their turns, if nobody says otherwise."""

    @contextmanager
    def evaluation(self) -> Generator[None]:
        """The trainer may own this module: its training flags and attention are put back after each forward."""
        training = [m for m in self.module.modules() if m.training]
        for module in training:
            module.training = False
        usual = self._config._attn_implementation
        try:
            with attending(self._config, SLOT_ATTENTION if usual == "sdpa" else usual), torch.inference_mode():
                yield
        finally:
            for module in training:
                module.training = True

    def last_logits(self, ids: Tensor, positions: Tensor, mask: Tensor, cache: SlotCache) -> Tensor:
        """[N, S] ids at [N, S] positions -> [N, V] float32 logits after the last of them."""
        out = self.module(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **self._last,
        )
        return out.logits[:, -1].float()

    def next_logits(self, tokens: Tensor, positions: Tensor, cache: SlotCache, columns: int) -> Tensor:
        """[N, 1] tokens at [N, 1] positions, in the first N slots of the cache -> [N, V] float32 logits."""
        cache.aim(0, positions, columns)
        return self.last_logits(tokens, positions, visible(positions, columns, self.dtype), cache)

    def addresses(self) -> tuple[int, ...]:
        """Where its weights lie."""
        return tuple(t.data_ptr() for t in (*self.module.parameters(), *self.module.buffers()))

    def all_logits(self, ids: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """[N, T] ids at [N, T] positions -> [N, T, V]"""
        return self.module(input_ids=ids, position_ids=positions, attention_mask=mask, use_cache=False).logits

    def tensor(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.device)


def visible(positions: Tensor, columns: int, dtype: torch.dtype) -> Tensor:
    """[N, S] positions -> [N, 1, S, columns] additive mask: a token sees all columns up to its own."""
    hidden = torch.arange(columns, device=positions.device) > positions[:, None, :, None]
    return torch.zeros(hidden.shape, dtype=dtype, device=positions.device).masked_fill_(hidden, -torch.inf)


@dataclass(frozen=True, slots=True)
class _Start:
    """How many tokens of a prompt need not be computed, and where their keys and values are: kept, or in another row's slot."""

    tokens: int
    kept: Kept | None = None
    slot: int = 0


def _common(row: Row, other: Row) -> int:
    """How many tokens two prompts have in common at their beginning."""
    length = min(row.prompt, other.prompt)
    equal = row.prompt_ids[:length] == other.prompt_ids[:length]
    return length if equal.all() else int(equal.argmin())


@dataclass(slots=True)
class _DecodePlan:
    """The tensors of the next decoding forward; valid while the same rows stay in the batch."""

    tokens: Tensor
    """[N, 1] last tokens, not yet forwarded"""
    positions: Tensor
    """[N, 1]"""
    columns: int
    sampling: RowSampling
    mask: Tensor | None
    """[N, 1, 1, columns]"""
    fixed: FixedStep | None
    """The tokens and positions are the first of its; it needs no mask."""

    def advance(self, tokens: Tensor) -> None:
        self.tokens.copy_(tokens[:, None])
        self.positions += 1


class Batch:
    """The sequences being decoded, and the cache of those between turns."""

    def __init__(
        self,
        model: Model,
        max_batch: int,
        context_window: int,
        kept_tokens: int | None,
        cache_tokens: int,
        fixed_shapes: bool,
    ) -> None:
        self.model, self.max_batch, self.context_window, self.kept_tokens = model, max_batch, context_window, kept_tokens
        self.cache_tokens = cache_tokens
        self.rows: list[Row] = []
        self.sessions = KeptSessions()
        self.cache = SlotCache(max_batch, context_window, cache_tokens or 2**60)
        self.fixed = FixedSteps(model, self.cache, recorder_for(model.device)) if fixed_shapes else None
        self.counts = dict.fromkeys(EngineStats.__dataclass_fields__, 0)
        self.version = 0
        self.epoch = 0
        self._plan: _DecodePlan | None = None

    def admits(self, row: Row, joining: Sequence[Row] = ()) -> bool:
        """Whether there is room for it, at its longest, beside those in the batch and others that join; an empty batch has."""
        count = len(self.rows) + len(joining) + 1
        if count == 1 or count > self.max_batch or not self.cache_tokens:
            return count <= self.max_batch
        longest = max(other.limit for other in (*self.rows, *joining, row))
        return count * round_up(longest) <= self.cache_tokens

    def join(self, waiting: deque[Row]) -> list[Row]:
        """Prefill the first of `waiting` and others of like length, sample their first tokens; the rows that are done already."""
        chosen = self._choose(waiting)
        joining = [row for row, _ in chosen]
        first = len(self.rows)
        longest = max(len(row.ids) for row in joining)
        if self.cache_tokens:  # for as long as they may get: growing later could break the budget
            longest = max(row.limit for row in (*self.rows, *joining)) - 1
        self.cache.reserve(first + len(joining), min(longest + 1, self.context_window))
        self.rows += joining  # before the forward: if it breaks, they fail with the others
        self._plan = None
        for slot, (row, start) in enumerate(chosen, first):
            self._begin(slot, row, start)
        logits = self._prefill(first, joining)
        drawn = self._draw(logits, joining, RowSampling.of([row.sampling for row in joining], self.model.device))
        return self._settle(joining, drawn)

    def step(self) -> list[Row]:
        """One token for every row; the rows that are done."""
        longest = max(row.length for row in self.rows)
        plan = self._plan
        if plan is None or longest >= plan.columns:
            plan = self._plan = self._planned(longest + 1)
        elif plan.mask is not None:
            plan.mask.scatter_(3, plan.positions[:, :, None, None], 0.0)
        logits = self._next(plan, longest)
        self.counts["forwards"] += 1
        self.counts["decode_rows"] += len(self.rows)
        drawn = self._draw(logits, self.rows, plan.sampling)
        plan.advance(drawn.tokens)
        for row in self.rows:
            row.length += 1
        return self._settle(self.rows, drawn)

    def leave(self, gone: Sequence[Row]) -> None:
        """Take rows out, keep the caches of those that are done under their sessions' names, and close the holes."""
        leaving = set(map(id, gone))
        for slot in reversed(range(len(self.rows))):
            row = self.rows[slot]
            if id(row) not in leaving:
                continue
            self._keep(slot, row)
            last = self.rows.pop()
            if last is not row:
                self.cache.move(len(self.rows), slot, last.length)
                self.rows[slot] = last
            self._plan = None

    def new_weights(self, version: int) -> None:
        """Forget what the old weights computed. Rows in the batch go on with it, but it is not kept."""
        self.version = version
        self.epoch += 1
        self.sessions.clear()
        if self.fixed is not None:
            self.fixed.new_weights()
            self._plan = None
        for row in self.rows:
            row.changes.append((len(row.logprobs), version))

    def clear(self) -> None:
        """Back to an empty batch without memory (sessions included)."""
        self.rows.clear()
        self.sessions.clear()
        self.cache.clear()
        self._plan = None
        if self.fixed is not None:
            self.fixed.clear()

    def _choose(self, waiting: deque[Row]) -> list[tuple[Row, _Start]]:
        """The oldest request and those after it that fit in one forward with it.

        They fit if their suffixes are of like length (at most twice, or half), and if none has much of its prompt in common with
        one chosen before: it then waits for the next forward, to copy that part instead of computing it again.
        """
        chosen: list[tuple[Row, _Start]] = []
        rest: list[Row] = []
        lead = widest = 0
        full = False
        for row in waiting:
            full = full or not self.admits(row, [other for other, _ in chosen])
            if full:
                rest.append(row)
                continue
            start = self._start(row)
            suffix = len(row.ids) - start.tokens
            lead = lead or suffix
            like = lead / 2 - 16 <= suffix <= 2 * lead + 16
            fits = (len(chosen) + 1) * max(widest, suffix) <= _PREFILL_TOKENS
            if chosen and not (like and fits and not any(_common(row, other) > start.tokens + _SHARED for other, _ in chosen)):
                rest.append(row)
                continue
            chosen.append((row, start))
            widest = max(widest, suffix)
        waiting.clear()
        waiting.extend(rest)
        return chosen

    def _start(self, row: Row) -> _Start:
        """What of the prompt is there already: in the session's own cache, or in that of a sequence with the same beginning.

        The last token is always computed, for its logits.
        """
        most = len(row.ids) - 1
        kept = self.sessions.get(row.session) if row.session is not None else None
        start = _Start(min(kept.shared(row.ids), most), kept) if kept else _Start(0)
        for slot in reversed(range(len(self.rows))):
            if start.tokens + _SHARED > most:
                break
            other = self.rows[slot]
            common = min(_common(row, other), most) if other.epoch == self.epoch else 0
            if common > start.tokens + _SHARED:
                start = _Start(common, slot=slot)
        return start

    def _begin(self, slot: int, row: Row, start: _Start) -> None:
        row.version, row.epoch, row.length = self.version, self.epoch, start.tokens
        if start.kept is not None:
            self.cache.copy_in(slot, start.kept.layers, start.tokens)
        elif start.tokens:
            self.cache.move(start.slot, slot, start.tokens)
        self.counts["reused_tokens"] += start.tokens
        self.counts["prefill_tokens"] += len(row.ids) - start.tokens

    def _prefill(self, first: int, rows: Sequence[Row]) -> Tensor:
        """[N, V] logits after each row's last token.

        Shorter suffixes are padded on the left with copies of their own first token at its own position: the same keys and values
        are written again, so padding needs no mask and no space, and the last column is the last token of every row.
        """
        width = max(len(row.ids) - row.length for row in rows)
        columns = round_up(max(len(row.ids) for row in rows))
        columns = min(columns, self.cache.capacity)
        positions = self.model.tensor([_padded(range(row.length, len(row.ids)), width) for row in rows])
        ids = self.model.tensor([_padded(row.ids[row.length :], width) for row in rows])
        alike = all(row.length == rows[0].length and len(row.ids) == len(rows[0].ids) for row in rows)
        piece = max(1, _MASK_ELEMENTS // (columns * (1 if alike else len(rows))))
        logits = torch.empty(0)
        for start in range(0, width, piece):
            there = positions[:, start : start + piece]
            mask = visible(there[:1] if alike else there, columns, self.model.dtype)
            self.cache.aim(first, there, columns)
            logits = self.model.last_logits(ids[:, start : start + piece], there, mask, self.cache)
            self.counts["forwards"] += 1
        for row in rows:
            row.length = len(row.ids)
        return logits

    def _planned(self, columns: int) -> _DecodePlan:
        count = len(self.rows)
        self.cache.reserve(count, columns)
        tokens = self.model.tensor([[row.ids[-1]] for row in self.rows])
        positions = self.model.tensor([[row.length] for row in self.rows])
        sampling = RowSampling.of([row.sampling for row in self.rows], self.model.device)
        if self.fixed is None:
            columns = min(round_up(columns), self.cache.capacity)
            return _DecodePlan(tokens, positions, columns, sampling, visible(positions, columns, self.model.dtype), None)
        step = self.fixed.at(tokens, positions, columns)
        tokens, positions = step.state[:, :count]
        return _DecodePlan(tokens, positions, step.columns, sampling, None, step)

    def _next(self, plan: _DecodePlan, longest: int) -> Tensor:
        """[N, V] logits after the rows' last tokens."""
        if plan.fixed is not None:
            return plan.fixed.run()[: len(self.rows)]
        assert plan.mask is not None
        columns = min(round_up(longest + 1, 8), plan.columns)
        self.cache.aim(0, plan.positions, columns)
        return self.model.last_logits(plan.tokens, plan.positions, plan.mask[..., :columns], self.cache)

    def _draw(self, logits: Tensor, rows: Sequence[Row], sampling: RowSampling) -> Drawn:
        uniforms = torch.tensor([row.uniform() for row in rows], dtype=torch.float64).to(self.model.device)
        return draw(logits, sampling, uniforms)

    def _settle(self, rows: Sequence[Row], drawn: Drawn) -> list[Row]:
        tokens, logprobs, entropies = torch.stack((drawn.tokens.double(), drawn.logprobs, drawn.entropies)).tolist()
        if not math.isfinite(sum(logprobs)):
            raise FloatingPointError("the model's logits are not finite")
        self.counts["decode_tokens"] += len(rows)
        return [row for row, *drawn_one in zip(rows, map(int, tokens), logprobs, entropies, strict=True) if row.take(*drawn_one)]

    def _keep(self, slot: int, row: Row) -> None:
        if row.session is None or not row.stop_reason or row.epoch != self.epoch:
            return
        limit = self._kept_limit()
        if row.length <= limit:
            kept = Kept(tuple(row.ids[: row.length]), self.cache.copy_out(slot, row.length))
            self.sessions.put(row.session, kept, limit)

    def _kept_limit(self) -> int:
        if self.kept_tokens is None:
            self.kept_tokens = max(self.model.kept_bytes // self.cache.token_bytes, self.context_window)
        return self.kept_tokens


def _padded(values: Sequence[int], width: int) -> list[int]:
    return [values[0]] * (width - len(values)) + list(values)
