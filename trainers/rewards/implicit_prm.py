"""An implicit process reward model, trained online from which trajectories succeed (OPRL / iStar, arXiv:2509.19199)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from turnwise.errors import Unsupported
from turnwise.trainers.batch import Batch, collate
from turnwise.trainers.forward import Forward
from turnwise.trainers.optimizers import AdamW, MuonAdamW
from turnwise.trainers.packing import micro_batches
from turnwise.trainers.rewards.protocol import Scene, State
from turnwise.trainers.shaping import add_terms
from turnwise.types import Group, Trajectory, Turn

__all__ = ["ImplicitPRM"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImplicitPRM:
    """Adds the term `implicit_prm`: q_k = beta * sum over turn k's tokens of (log phi - log pi_old).

    phi starts as a copy of the policy (so q = 0) and follows preferences between whole trajectories; its log-ratio is then a
    reward for every turn (DPO's implicit reward). pi_old is the policy that sampled, so its log-probabilities are there already.
    After a step's rewards are given out, phi learns from the same groups:

        loss = mean over pairs (success i, failure j) of a group of softplus(-(Q_i - Q_j)),   Q = mean of q_k over the turns

    averaged over all pairs of all groups (a success has an outcome of at least `success`). A group of all successes or all
    failures teaches phi nothing, but its turns have their rewards. `total = true` is the paper's Q, the sum over the turns: it
    prefers by length what the mean does not.

    The state is phi's weights and its optimiser's, so phi is checkpointed, and a step costs a copy of it. Made for
    `advantage = "istar"`. Left out: a reference other than the sampling policy, and scaling by the batch's largest step return.
    """

    beta: float = 0.05
    success: float = 1.0
    """Outcome from which on a trajectory is preferred."""
    total: bool = False
    """Q is the sum over the turns in place of their mean."""
    epochs: int = 1
    """Optimiser steps a training step."""
    optimizer: AdamW | MuonAdamW = field(default_factory=AdamW)
    """Of phi; the default learning rate is the paper's, 1e-6. Gradients are clipped at its `max_grad_norm` (the paper: 10)."""
    max_tokens: int = 4096
    """Tokens of one forward pass, padding included."""

    def start(self, scene: Scene) -> State:
        model = _policy(scene)
        return _state(model, self.optimizer.build(model))

    async def __call__(self, groups: Sequence[Group], scene: Scene) -> list[Group]:
        alive = [Group(group.task, group.survivors) for group in groups if group.survivors]
        if not any(t.turns for group in alive for t in group.trajectories):
            return list(groups)
        batch, phi = collate(alive), self._phi(scene)
        steps = torch.zeros_like(batch.rewards)
        with torch.no_grad():
            for rows in micro_batches(batch, self.max_tokens):
                part = self._steps(phi, batch, rows)
                steps[rows, : part.shape[1]] = part.to(steps)
        terms: dict[Turn, Mapping[str, float]] = {}
        for trajectory, values in zip((t for group in alive for t in group.trajectories), steps.tolist(), strict=True):
            terms |= {turn: {"implicit_prm": value} for turn, value in zip(trajectory.turns, values, strict=False)}
        return add_terms(groups, terms)

    async def learn(self, groups: Sequence[Group], scene: Scene) -> tuple[State, dict[str, float]]:
        pairs = [self._sides(group) for group in groups]
        mixed = [(won, lost) for won, lost in pairs if won and lost]
        metrics = {"prm_pairs": float(sum(len(won) * len(lost) for won, lost in mixed))}
        if not mixed:
            return scene.state, metrics
        phi = self._phi(scene)
        optimizers = self.optimizer.build(phi.model)
        for optimizer, saved in zip(optimizers, scene.state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        batch = collate([Group(won[0].task, (*won, *lost)) for won, lost in mixed])
        for _ in range(self.epochs):
            loss, right = self._backward(phi, batch, [(len(won), len(lost)) for won, lost in mixed])
            norm = float(torch.nn.utils.clip_grad_norm_(phi.model.parameters(), self.optimizer.max_grad_norm))
            if "prm_loss" not in metrics:  # before this step's learning
                metrics |= {"prm_loss": loss, "prm_accuracy": right, "prm_grad_norm": norm}
            for optimizer in optimizers:
                if math.isfinite(norm):
                    optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        return _state(phi.model, optimizers), metrics

    def _sides(self, group: Group) -> tuple[list[Trajectory], list[Trajectory]]:
        alive = [t for t in group.survivors if t.turns]
        return [t for t in alive if t.outcome >= self.success], [t for t in alive if t.outcome < self.success]

    def _backward(self, phi: Forward, batch: Batch, sides: Sequence[tuple[int, int]]) -> tuple[float, float]:
        """Gradients of the loss into phi; (loss, share of pairs in the right order).

        Two passes, first all Q and then dloss/dQ row by row, so that memory is that of one micro-batch.
        """
        parts = micro_batches(batch, self.max_tokens)
        scores = torch.zeros(len(batch.tokens))
        with torch.no_grad():
            for rows in parts:
                scores[rows] = self._q(phi, batch, rows).to(scores)
        scores.requires_grad_()
        margins: list[Tensor] = []
        for (won, lost), own in zip(sides, scores.split([won + lost for won, lost in sides]), strict=True):
            margins.append((own[:won, None] - own[None, won : won + lost]).flatten())
        margin = torch.cat(margins)
        loss = torch.nn.functional.softplus(-margin).mean()
        (slopes,) = torch.autograd.grad(loss, scores)
        for rows in parts:
            q = self._q(phi, batch, rows)
            (q * slopes[rows].to(q)).sum().backward()
        return float(loss.detach()), float((margin > 0).float().mean())

    def _q(self, phi: Forward, batch: Batch, rows: Tensor) -> Tensor:
        """[R] Q of some rows of the batch."""
        steps = self._steps(phi, batch, rows).sum(1)
        return steps if self.total else steps / batch.turns[rows].to(steps)

    def _steps(self, phi: Forward, batch: Batch, rows: Tensor) -> Tensor:
        """[R, K] implicit rewards of some rows of the batch."""
        part = batch.rows(rows).trim()
        device = phi.model.device
        logprobs, _ = phi(part.tokens.to(device), part.mask.to(device), entropy=False)
        ratio = torch.where(part.mask.to(device), logprobs - part.logprobs.to(logprobs), 0)
        sums = ratio.new_zeros(len(rows), part.rewards.shape[1])
        return self.beta * sums.scatter_add(1, part.turn.clamp(min=0).to(device), ratio)

    def _phi(self, scene: Scene) -> Forward:
        policy = _policy(scene)
        wide = torch.promote_types(policy.dtype, torch.float32)  # bfloat16 would round phi's steps away
        model = cast(PreTrainedModel, nn.Module.to(copy.deepcopy(policy), wide)).eval()
        model.load_state_dict(scene.state["weights"], strict=False)  # what the policy does not train is the same in both
        return Forward(model, scene.temperature)


def _policy(scene: Scene) -> PreTrainedModel:
    if scene.policy is None:
        raise Unsupported("implicit_prm: needs the policy's model in this process to copy; it lives elsewhere in this run.")
    return scene.policy


def _state(model: PreTrainedModel, optimizers: Sequence[torch.optim.Optimizer]) -> State:
    trained = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    return {"weights": trained, "optimizers": [optimizer.state_dict() for optimizer in optimizers]}
