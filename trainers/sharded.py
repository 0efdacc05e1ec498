"""One rank of several: parameters, gradients and optimiser states in parts (torch FSDP2), the rows of a batch dealt out.

    store = meeting_point("127.0.0.1")              # on rank 0; the others get its port
    ranks = join(0, 2, store)                       # gloo on CPUs, NCCL on GPUs
    learner = LocalLearner(model, update, ranks=ranks)

Invariants. All ranks have the whole batch and make the same parts of it, so they agree on the number of passes without a word;
each pass is one collective per block, and a rank without rows goes through it with a token of no weight. Losses are sums with one
denominator of the whole batch, so gradients are added up and never averaged. What the passes found is added up once per update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from transformers import PreTrainedModel

from turnwise.trainers.forward import Forward, core_of
from turnwise.trainers.layout import whole

__all__ = ["Sharded", "deal", "join", "leave", "meet", "meeting_point"]

T = TypeVar("T")


def meeting_point(host: str, timeout_s: float = 600.0) -> TCPStore:
    """Where the ranks find each other, opened by rank 0 at a free port (`.port`) of its host."""
    return TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=timeout_s))


def meet(host: str, port: int, timeout_s: float = 600.0) -> TCPStore:
    """The meeting point that rank 0 opened."""
    return TCPStore(host, port, is_master=False, timeout=timedelta(seconds=timeout_s))


def join(rank: int, size: int, store: TCPStore, *, timeout_s: float = 600.0, device: str = "") -> Sharded:
    """Become one of `size` ranks; all must. What a collective waits for longer than `timeout_s` is an error on every rank."""
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    backend = "nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timedelta(seconds=timeout_s))
    return Sharded(init_device_mesh(device, (size,)))


def leave() -> None:
    """Undo `join`."""
    distributed.destroy_process_group()


class Sharded:
    """`Ranks` over a mesh of one dimension: every parameter is cut along its first one."""

    def __init__(self, mesh: DeviceMesh) -> None:
        self.mesh, self.rank, self.size = mesh, mesh.get_local_rank(), mesh.size()
        self._gates: dict[int, _Gate] = {}

    def place(self, forward: Callable[[PreTrainedModel, float], Forward], model: PreTrainedModel, temperature: float) -> _Placed:
        gate = _Gate(model)
        _shard(gate, self.mesh)
        self._gates[id(model)] = gate
        with torch.no_grad():
            return _Placed(gate, gate.read(partial(forward, model, temperature)))

    def run(self, model: PreTrainedModel, call: Callable[[], T]) -> T:
        return self._gates[id(model)].read(call)

    def deal(self, parts: Sequence[Tensor]) -> list[Tensor]:
        return deal(parts, self.rank, self.size)

    def total(self, tensor: Tensor) -> Tensor:
        out = tensor.to(self.mesh.device_type, copy=True)
        distributed.all_reduce(out, group=self.mesh.get_group())
        return out.to(tensor.device)

    def gather(self, tensor: Tensor) -> Tensor:
        found = whole(tensor)
        return found.cpu() if self.rank == 0 else found.new_empty(0)


def deal(parts: Sequence[Tensor], rank: int, size: int) -> list[Tensor]:
    """Parts in turn to the ranks. Those of a last, incomplete round are cut so that each rank has something, if rows suffice.

    All ranks get equally many; neighbours in `parts` are of like length, so that a round takes all of them about as long.
    """
    rounds, over = divmod(len(parts), size)
    last = parts[rounds * size :]
    pieces = [piece for i, part in enumerate(last) for piece in part.tensor_split(size // over + (i < size % over))]
    return [*(parts[r * size + rank] for r in range(rounds)), *(pieces[rank : rank + 1])]


class _Gate(nn.Module):
    """All that reads a model's parameters runs in this module's forward pass: FSDP puts together what lies outside of blocks
    (embeddings, the last norm, the head) before it and gives it back afterwards."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, call: Callable[[], Any]) -> Any:
        return call()

    def read(self, call: Callable[[], T]) -> T:
        out = self(call)
        if not torch.is_grad_enabled():  # no backward pass will do it
            cast(FSDPModule, self).reshard()
        return out


class _Placed:
    """`Forward` through a gate. Without rows it reads one token, gives nothing back, and has a gradient of nothing."""

    def __init__(self, gate: _Gate, forward: Forward) -> None:
        self._gate, self._forward = gate, forward

    @property
    def model(self) -> PreTrainedModel:
        return self._gate.model

    def __call__(self, tokens: Tensor, mask: Tensor, *, entropy: bool = True) -> tuple[Tensor, Tensor]:
        if len(tokens):
            return self._gate.read(partial(self._forward, tokens, mask, entropy=entropy))
        some = _something(tokens)
        second = torch.arange(some.shape[1], device=some.device)[None] == 1
        logp, spread = self._gate.read(partial(self._forward, some, second, entropy=entropy))
        return logp[:0, : tokens.shape[1]], spread[:0, : tokens.shape[1]]

    def hidden(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        if len(tokens):
            return self._gate.read(partial(self._forward.hidden, tokens, lengths))
        return self._gate.read(partial(self._forward.hidden, _something(tokens)))[:0, : tokens.shape[1]]


def _something(tokens: Tensor) -> Tensor:
    """[0, T] -> [1, at least 2] ids that every model knows."""
    return tokens.new_zeros(1, max(2, tokens.shape[1]))


def _shard(gate: _Gate, mesh: DeviceMesh) -> None:
    dtype = torch.promote_types(gate.model.dtype, torch.float32)
    policy = MixedPrecisionPolicy(reduce_dtype=dtype)  # sums over ranks are not to lose what sums over rows keep
    for module in [*_blocks(gate.model), gate]:
        sharded = fully_shard(module, mesh=mesh, mp_policy=policy)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo has no scaled sums


def _blocks(model: PreTrainedModel) -> Iterator[nn.Module]:
    """What is put together and given back on its own: the layers that Hugging Face too keeps in one piece."""
    core = core_of(model)
    names = set[str](getattr(core, "_no_split_modules", None) or ())
    return (module for module in core.modules() if type(module).__name__ in names)
