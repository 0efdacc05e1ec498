"""The embedded engine: continuous batching with a KV cache over any Hugging Face causal language model, in this process.

Requests join and leave at token boundaries. One task runs the batch while there are requests and ends when there are none, so the
engine belongs to no event loop. What is slow (a forward pass) blocks the loop for as long as it takes.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from turnwise.agents.engine import Capabilities, Completion, Load, Sampling
from turnwise.agents.engines.requests import check_prompt, check_text
from turnwise.agents.engines.torch_batch import Batch, EngineStats, Model
from turnwise.agents.engines.torch_row import Row
from turnwise.agents.engines.torch_sampling import check_sampling
from turnwise.agents.engines.torch_scoring import pack, row_tensors
from turnwise.errors import ConfigError, EngineFailure, Unsupported

__all__ = ["EngineStats", "TorchEngine"]

_SCORE_NUMBERS = 2**26  # most logits (tokens times vocabulary), and elements of the mask, of the texts that are scored together


@dataclass(frozen=True, slots=True, eq=False)
class _Scoring:
    ids: list[int]
    targets: int
    """How many of `ids`, at the end, are wanted."""
    future: asyncio.Future[list[float]]


class TorchEngine:
    """See `turnwise.agents.engine.Engine`. The model may at the same time be the one that is trained.

    Models of a few million parameters run fastest on one CPU thread (`torch.set_num_threads(1)`), by far on a busy machine.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        max_batch: int = 64,
        context_window: int | None = None,
        kept_tokens: int | None = None,
        cache_tokens: int = 0,
        device: torch.device | str | None = None,
        fixed_shapes: bool | None = None,
    ) -> None:
        """
        Args:
            model: a transformers causal LM, bare or wrapped by peft. It is moved to `device` if one is named.
            max_batch: most sequences decoded together; further requests wait.
            context_window: most tokens of a conversation; the model's own limit if None.
            kept_tokens: most tokens, over all sessions, whose keys and values are kept between turns; the least recently used
                sessions go first. None is what fits in 2 GiB (8 GiB on CUDA).
            cache_tokens: most tokens of conversations that are decoded together, each counted at its longest; further requests
                wait. A single conversation is always decoded. 0 is no bound but `max_batch`.
            fixed_shapes: decoding steps of few shapes (`torch_steps`), which CUDA records once and replays. None is where the
                model is on CUDA; elsewhere they gain nothing.

        Raises ConfigError for numbers that make no sense, Unsupported for models whose forward cannot be batched this way.
        """
        config = cast(Any, model).config
        limit = int(getattr(config, "max_position_embeddings", None) or 2**30)
        window = limit if context_window is None else context_window
        if not 2 <= window <= limit:
            raise ConfigError(f"TorchEngine context_window: expected 2 to {limit} (the model's own limit), got {window}.")
        _refuse_windows(config, window)
        if cache_tokens < 0:
            raise ConfigError(f"TorchEngine cache_tokens: expected 0 (no bound) or a positive count, got {cache_tokens}.")
        if max_batch < 1:
            raise ConfigError(f"TorchEngine max_batch: expected at least 1, got {max_batch}.")
        self.model = model if device is None else model.to(device)
        self._model = Model(self.model)
        fixed = self._model.device.type == "cuda" if fixed_shapes is None else fixed_shapes
        self._batch = Batch(self._model, max_batch, window, kept_tokens, cache_tokens, fixed)
        self._vocabulary = int(cast(Any, model).get_input_embeddings().weight.shape[0])
        self._token_cost = 3 * int(getattr(config, "hidden_size", 1024))  # multiplications, in those of attending to one token
        self._waiting: deque[Row] = deque()
        self._scoring: deque[_Scoring] = deque()
        self._task: asyncio.Task[None] | None = None
        self._shift = 0
        self._sync_cost = (0, 0.0)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(tokens=True, score=True, update_weights=True, context_window=self._batch.context_window)

    @property
    def stats(self) -> EngineStats:
        return EngineStats(**self._batch.counts)

    @property
    def load(self) -> Load:
        return Load(usage=len(self._batch.rows) / self._batch.max_batch, waiting=len(self._waiting))

    @property
    def version(self) -> int:
        """Of the weights in use."""
        return self._batch.version

    async def generate(self, ids: Sequence[int], sampling: Sampling, session: str | None = None) -> Completion:
        """See `Engine.generate`. A cancelled call leaves the batch before the next forward."""
        window = self._batch.context_window
        check_prompt(ids, self._vocabulary, window)
        check_sampling(sampling)
        prompt = np.asarray(ids, dtype=np.int64)
        future: asyncio.Future[Completion] = self._loop().create_future()
        limit = min(len(ids) + sampling.max_tokens, window)
        self._waiting.append(Row(list(ids), prompt, limit, sampling, session, future))
        return await future

    async def score(self, ids: Sequence[int], targets: Sequence[int]) -> list[float]:
        """See `Engine.score`. Calls that are made together are computed together, common beginnings once."""
        check_text(ids, targets, self._vocabulary, self._batch.context_window)
        if not targets:
            return []
        future: asyncio.Future[list[float]] = self._loop().create_future()
        self._scoring.append(_Scoring([*ids, *targets], len(targets), future))
        return await future

    async def update_weights(self, weights: Mapping[str, Any], version: int) -> None:
        """Copy `weights` into the model in place. Names and shapes are those of its state dict (tied weights once is enough);
        anything missing, unknown or of another shape is a ConfigError, and nothing is changed."""
        started = time.perf_counter()
        own = cast("dict[str, Tensor]", self.model.state_dict(keep_vars=True))
        unknown = sorted(set(weights) - set(own))
        given = {own[name].data_ptr() for name in weights if name in own}
        missing = sorted(name for name, tensor in own.items() if tensor.data_ptr() not in given)
        if unknown or missing:
            raise ConfigError(
                f"update_weights: expected the model's state dict, got unknown {unknown[:3]}, missing {missing[:3]}."
            )
        for name, tensor in weights.items():
            if tensor.shape != own[name].shape:
                raise ConfigError(
                    f"update_weights: expected {name} of shape {tuple(own[name].shape)}, got {tuple(tensor.shape)}."
                )
        copied: dict[int, int] = {}
        with torch.no_grad():
            for name, tensor in weights.items():
                if tensor.data_ptr() != own[name].data_ptr():
                    own[name].copy_(tensor)
                    copied[own[name].data_ptr()] = tensor.numel() * tensor.element_size()
        self._sync_cost = (sum(copied.values()), time.perf_counter() - started)
        self.refresh(version)

    @property
    def sync_cost(self) -> tuple[int, float]:
        """Bytes copied at the last change of weights (0 where the trainer holds this very module), and seconds it took."""
        return self._sync_cost

    async def differing(self, weights: Mapping[str, Any]) -> list[str]:
        """Names of the tensors in `weights` that the model holds otherwise."""
        own = cast("dict[str, Tensor]", self.model.state_dict())
        return sorted(name for name, tensor in weights.items() if not torch.equal(own[name], tensor.to(own[name])))

    def refresh(self, version: int) -> None:
        """The model's weights were changed from outside (the trainer holds this very module): drop all caches of the old ones."""
        self._batch.new_weights(version)

    def release(self, session: str) -> None:
        self._batch.sessions.drop(session)

    def fork(self, session: str, twin: str) -> None:
        kept = self._batch.sessions.get(session)
        if kept is not None and self._batch.kept_tokens is not None:
            self._batch.sessions.put(twin, kept, self._batch.kept_tokens)

    async def close(self) -> None:
        """Give back the memory of all caches; requests in flight fail."""
        self._fail("closed", "the engine was closed while this request was in flight")

    def _loop(self) -> asyncio.AbstractEventLoop:
        """The running loop, with our task on it."""
        loop = asyncio.get_running_loop()
        task = self._task
        if task is not None and (task.done() or task.get_loop() is not loop):
            if not task.done() and not task.get_loop().is_closed():
                raise ConfigError("TorchEngine: expected to be used on one event loop at a time, got a second one.")
            self._abandon()  # cancelled before its first step, or left behind by a loop that was closed under it
        if self._task is None:
            self._shift += 1
            self._task = loop.create_task(self._serve(self._shift), name="TorchEngine")
        return loop

    async def _serve(self, shift: int) -> None:
        """One forward an iteration, for as long as there are requests."""
        try:
            while self._purge():
                try:
                    with self._model.evaluation():
                        done = self._advance()
                except Exception as error:  # the boundary: whatever breaks in the model fails the requests, not the program
                    self._fail("forward", f"{type(error).__name__}: {error}", error)
                else:
                    for row in done:
                        row.future.set_result(row.completion())
                await asyncio.sleep(0)
        finally:
            if shift == self._shift:  # else its loop was closed, others serve now, and the garbage collector ends it
                self._abandon()

    def _purge(self) -> bool:
        """Drop what was cancelled; whether anything is left."""
        batch = self._batch
        if cancelled := [row for row in batch.rows if row.future.done()]:
            with torch.inference_mode():
                batch.leave(cancelled)
        if any(row.future.done() for row in self._waiting):
            self._waiting = deque(row for row in self._waiting if not row.future.done())
        if any(text.future.done() for text in self._scoring):
            self._scoring = deque(text for text in self._scoring if not text.future.done())
        return bool(batch.rows or self._waiting or self._scoring)

    def _advance(self) -> list[Row]:
        """The next forward: scores first, then who wants to join, then a token for everybody. The requests that are done."""
        batch = self._batch
        if self._scoring:
            self._score()
            return []
        joins = self._waiting and batch.admits(self._waiting[0])
        done = batch.join(self._waiting) if joins else batch.step()
        if done:
            batch.leave(done)
        return done

    def _score(self) -> None:
        """Teacher-force texts that wait, the oldest among them; what they have in common at their beginning is computed once."""
        waiting = list(self._scoring)
        rows = pack([text.ids for text in waiting], self._token_cost)
        chosen = rows[: _fitting([len(row) for row in rows], self._vocabulary)]
        logits = self._model.all_logits(*row_tensors(chosen, self._model.device, self._model.dtype))
        self._batch.counts["forwards"] += 1
        done: set[int] = set()
        for row, out in zip(chosen, logits, strict=True):
            for number, path in row.paths.items():
                text = waiting[number]
                wanted = torch.from_numpy(path[-text.targets - 1 : -1]).to(out.device)
                own = self._model.tensor(text.ids[-text.targets :])[:, None]
                text.future.set_result(out[wanted].float().log_softmax(-1).gather(1, own)[:, 0].tolist())
                self._batch.counts["scored_tokens"] += text.targets
                done.add(number)
            self._batch.counts["scoring_tokens"] += len(row)
        self._scoring = deque(text for number, text in enumerate(waiting) if number not in done)

    def _fail(self, kind: str, detail: str, cause: Exception | None = None) -> None:
        """Every request in flight fails; the engine is empty and usable again."""
        futures: list[asyncio.Future[Any]] = [request.future for request in (*self._batch.rows, *self._waiting, *self._scoring)]
        self._waiting.clear()
        self._scoring.clear()
        self._batch.clear()
        for future in futures:
            if not future.done():
                failure = EngineFailure(kind, detail)
                failure.__cause__ = cause
                future.set_exception(failure)

    def _abandon(self) -> None:
        """The loop ends, or ended without us: nothing that belongs to it may stay."""
        self._task = None
        requests = (*self._batch.rows, *self._waiting, *self._scoring)
        self._waiting.clear()
        self._scoring.clear()
        if requests:
            self._batch.clear()
        for request in requests:
            if not request.future.get_loop().is_closed():
                request.future.cancel()


def _fitting(lengths: Sequence[int], vocabulary: int) -> int:
    """How many of the first rows, at least one, go through the model together."""
    longest = 0
    for count, length in enumerate(lengths):
        longest = max(longest, length)
        if count and (count + 1) * longest * max(vocabulary, longest) > _SCORE_NUMBERS:
            return count
    return len(lengths)


def _refuse_windows(config: Any, window: int) -> None:
    """Raises Unsupported for layers that do not attend over all of the conversation: the cache knows no other kind."""
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
    sliding = getattr(config, "sliding_window", None)
    if kinds - {"sliding_attention"}:
        raise Unsupported(f"TorchEngine: expected full attention in every layer, got {sorted(kinds)}; use another back end.")
    if (kinds or not getattr(config, "layer_types", None)) and sliding is not None and window > sliding:
        got = f"a sliding window of {sliding} tokens"
        raise Unsupported(f"TorchEngine: expected full attention, got {got}; set context_window to {sliding} or less.")
