"""The optimisers a recipe can name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from turnwise.trainers.bounds import within
from turnwise.trainers.layout import cut, whole

__all__ = ["AdamW", "Muon", "MuonAdamW"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamW:
    """Decoupled weight decay (arXiv:1711.05101), the field's default for reinforcement learning."""

    lr: float = 1e-6
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this global 2-norm."""

    def __post_init__(self) -> None:
        within("adamw.lr", self.lr)
        within("adamw.max_grad_norm", self.max_grad_norm)

    def build(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        parameters = [p for p in model.parameters() if p.requires_grad]
        return [torch.optim.AdamW(parameters, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MuonAdamW:
    """Muon for matrices inside the blocks, AdamW for embeddings and vectors.

    Meant for small models trained from nothing.
    """

    lr: float = 0.02
    """Of the matrices."""
    adam_lr: float = 3e-3
    """Of everything else."""
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        within("muon.lr", self.lr)
        within("muon.adam_lr", self.adam_lr)
        within("muon.max_grad_norm", self.max_grad_norm)

    def build(self, model: nn.Module) -> list[torch.optim.Optimizer]:
        tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        matrices = [p for n, p in named if p.dim() == 2 and id(p) not in tables and "lm_head" not in n]
        chosen = {id(p) for p in matrices}
        others = [p for _, p in named if id(p) not in chosen]
        built: list[torch.optim.Optimizer] = []
        if matrices:
            built.append(Muon(matrices, lr=self.lr, weight_decay=self.weight_decay))
        if others:  # adapters are matrices only
            built.append(torch.optim.AdamW(others, lr=self.adam_lr, betas=self.betas, weight_decay=self.weight_decay))
        return built


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by a Newton-Schulz iteration (K. Jordan et al., "Muon", 2024), for matrices only.

    `torch.optim.Muon` runs the iteration in bfloat16, one matrix at a time, which a CPU does 30 times slower (measured) than
    float32 over all matrices of a shape at once. Of parameters in parts (FSDP) each rank puts the momentum of the matrices of one
    shape together and orthogonalises all of them: half of a matrix has other singular vectors.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0, steps: int = 5
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    shapes[p.shape].append(p)
            for shape, parameters in shapes.items():
                updates = torch.stack([whole(self._nesterov(p, group["momentum"])) for p in parameters])
                updates = _orthogonal(updates, group["steps"]) * max(1.0, shape[0] / shape[1]) ** 0.5
                for p, update in zip(parameters, updates, strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(cut(update.to(p.dtype), p), alpha=-group["lr"])

    def _nesterov(self, p: nn.Parameter, momentum: float) -> Tensor:
        assert p.grad is not None
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(state["momentum"], momentum)


def _orthogonal(x: Tensor, steps: int) -> Tensor:
    """[N, R, C] -> the nearest semi-orthogonal matrices, roughly: singular values end between 0.7 and 1.2."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = x.shape[1] > x.shape[2]
    x = (x.mT if tall else x).float()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
