"""Decoding steps of fixed shapes: what a GPU records once and replays with a single launch (CUDA graphs).

A step of a small model takes a GPU less time than Python needs to launch its hundreds of kernels. A recorded step is launched at
once, but it is always the same kernels over the same memory. So a batch is filled up to a power of two of rows that attend over a
power of two of columns, tokens and positions are written into tensors that stay, and the mask is computed from the positions.
Rows that fill up write to slots in which nobody lies, and what comes of them is not read.

Nothing here needs CUDA but `CudaGraphs`: without it the same step runs kernel by kernel.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from turnwise.agents.engines.torch_cache import SlotCache, round_up

__all__ = ["CudaGraphs", "FixedStep", "FixedSteps", "Forward", "Recorder", "recorder_for"]

_TOLERANCE = 0.05
"""Of the logits of a step that was recorded, against the same step kernel by kernel: other kernels round otherwise."""

Run = Callable[[], Tensor]
"""Computes a step from what stands in its tensors."""


class Forward(Protocol):
    """The model; see `torch_batch.Model`."""

    def next_logits(self, tokens: Tensor, positions: Tensor, cache: SlotCache, columns: int) -> Tensor:
        """[N, 1] tokens at [N, 1] positions, in the first N slots of the cache -> [N, V]."""
        ...

    def addresses(self) -> tuple[int, ...]:
        """Where its weights lie."""
        ...

    def tensor(self, values: Any) -> Tensor:
        """Of integers."""
        ...


class Recorder(Protocol):
    """Makes of a step one that does the same with less work."""

    def __call__(self, run: Run) -> Run: ...


@dataclass(frozen=True, slots=True, eq=False)
class FixedStep:
    """Of N rows."""

    state: Tensor
    """[2, N, 1] int64 tokens and positions: written to, never replaced."""
    columns: int
    """The positions must lie below."""
    run: Run
    """-> [N, V] float32 logits, which the next step overwrites."""


class FixedSteps:
    """The steps of all shapes so far. They are made again when memory that they know has moved: the cache's or the weights'."""

    def __init__(self, model: Forward, cache: SlotCache, recorder: Callable[[], Recorder]) -> None:
        """`recorder` is asked for one that records into memory of its own, whenever all steps before are gone."""
        self.model, self.cache = model, cache
        self.recorded = 0
        """Steps that were made since the beginning."""
        self._recorder = recorder
        self._record: Recorder | None = None
        self._steps: dict[tuple[int, int], FixedStep] = {}
        self._moved, self._addresses = -1, model.addresses()

    def at(self, tokens: Tensor, positions: Tensor, columns: int) -> FixedStep:
        """One that stands at these [N, 1] tokens and positions and has room for so many columns, which the cache has reserved."""
        if self._moved != self.cache.moved:
            self.clear()
            self._moved = self.cache.moved
        count = len(tokens)
        rows, columns = min(_power(count), self.cache.slots), min(_power(round_up(columns)), self.cache.capacity)
        step = self._steps.get((rows, columns))
        state = step.state if step is not None else self.model.tensor([[[0]] * rows] * 2)
        state[:, :count] = torch.stack((tokens, positions))
        state[:, count:] = 0
        if step is None:  # recording runs it: only now that it stands where its next token is to be written anyway
            step = self._steps[rows, columns] = self._made(state, columns)
        return step

    def new_weights(self) -> None:
        """They have changed; where they lie elsewhere now, no step knows them."""
        addresses = self.model.addresses()
        if addresses != self._addresses:
            self.clear()
            self._addresses = addresses

    def clear(self) -> None:
        """Give the memory back."""
        self._steps.clear()
        self._record = None

    def _made(self, state: Tensor, columns: int) -> FixedStep:
        def run() -> Tensor:
            return self.model.next_logits(state[0], state[1], self.cache, columns)

        self.recorded += 1
        return FixedStep(state, columns, self._recording(run))

    def _recording(self, run: Run) -> Run:
        self._record = self._record or self._recorder()
        try:
            return self._record(run)
        except Exception as error:  # the boundary: a model that cannot be recorded runs as it would without us
            why = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"TorchEngine: decoding goes on without CUDA graphs, for a step was not recorded ({why}).", stacklevel=2
            )
            self._recorder, self._record = (lambda: plain), plain
            return run


def plain(run: Run) -> Run:
    """Records nothing."""
    return run


class CudaGraphs:
    """Records steps as CUDA graphs that share their memory: results of one are gone when another one runs."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pool, self.stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream(device)

    def __call__(self, run: Run) -> Run:
        """Raises RuntimeError for a step that cannot be recorded, or computes something else when it is replayed."""
        with torch.cuda.device(self.device):
            wanted = self._warm(run)
            graph = torch.cuda.CUDAGraph()
            # thread_local: a learner in another thread may allocate meanwhile
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                logits = run()

        def replay() -> Tensor:
            graph.replay()
            return logits

        if not torch.allclose(replay(), wanted, rtol=_TOLERANCE, atol=_TOLERANCE):
            raise RuntimeError("replayed, it gives other logits")
        return replay

    def _warm(self, run: Run) -> Tensor:
        """Libraries choose kernels and allocate work space when they are first called; it may not happen while recording."""
        usual = torch.cuda.current_stream()
        self.stream.wait_stream(usual)
        with torch.cuda.stream(self.stream):
            run()
            wanted = run().clone()
        usual.wait_stream(self.stream)
        return wanted


def recorder_for(device: torch.device) -> Callable[[], Recorder]:
    """CUDA graphs where there is CUDA."""
    return (lambda: CudaGraphs(device)) if device.type == "cuda" else (lambda: plain)


def _power(count: int) -> int:
    return 1 << (count - 1).bit_length()
