"""Supervised warm-start: demonstrations from an environment's expert (or any teacher), cross-entropy on the teacher's tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from turnwise.agents.agent import Moment, Reply
from turnwise.agents.chat import ChatTemplate
from turnwise.agents.failures import Broken
from turnwise.errors import ConfigError
from turnwise.trainers.forward import Forward
from turnwise.trainers.masters import Masters
from turnwise.trainers.optimizers import AdamW, MuonAdamW
from turnwise.types import Trajectory, Turn

__all__ = ["SFT", "Teacher", "encode", "texts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SFT:
    """How to warm-start."""

    demonstrations: int = 3000
    """Episodes of the teacher to learn from."""
    teacher: str = "expert"
    """"expert" (the environment's own), or `module:function` of `(env, rng) -> str`, or `module:Class` of an agent."""
    tagged: bool = False
    """Open each reply with a meta-reasoning tag (`turnwise.trainers.tagged`)."""
    epochs: float = 4.0
    batch_size: int = 32
    """Conversations a step."""
    all_tokens: bool = False
    """Learn to predict observations too: for models trained from nothing, which must first learn to read."""
    optimizer: AdamW | MuonAdamW = field(default_factory=MuonAdamW)
    decay: float = 0.5
    """Share of the steps, at the end, over which the learning rate falls linearly to a tenth."""

    def steps(self, demonstrations: int) -> int:
        """Optimiser steps for that many conversations."""
        return max(1, round(self.epochs * demonstrations / self.batch_size))

    def train(self, model: torch.nn.Module, rows: Sequence[tuple[Tensor, Tensor]], seed: int) -> Iterator[float]:
        """Train in place, yielding the loss (nats per token) of each step. `rows` are ([T] ids, [T] bool trained)."""
        if not rows:
            raise ConfigError("warm_start: there is no demonstration to learn from; every episode of the teacher failed.")
        order = _batches(rows, self.batch_size, self.steps(len(rows)), np.random.default_rng(seed))
        forward = Forward(model)  # pyright: ignore[reportArgumentType]
        optimizers = self.optimizer.build(model)
        masters = Masters(optimizers)
        base = [[g["lr"] for g in o.param_groups] for o in optimizers]
        model.eval()  # no dropout: it would draw from the global generator
        device = next(model.parameters()).device
        for step, batch in enumerate(order):
            tokens, mask = _padded(batch)
            logp, _ = forward(tokens.to(device), mask.to(device), entropy=False)
            loss = -logp.sum() / mask.sum()
            loss.backward()
            masters.take()
            torch.nn.utils.clip_grad_norm_(masters.of(model.parameters()), self.optimizer.max_grad_norm)
            scale = self._rate(step, self.steps(len(rows)))
            for optimizer, rates in zip(optimizers, base, strict=True):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * scale
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            masters.give()
            yield float(loss.detach())

    def _rate(self, step: int, steps: int) -> float:
        warm = min(1.0, (step + 1) / min(20, max(1, steps // 10)))
        left = (steps - step) / max(1.0, self.decay * steps)
        return warm * max(0.1, min(1.0, left))

    def rows(self, trajectories: Sequence[Trajectory]) -> list[tuple[Tensor, Tensor]]:
        """Training rows of encoded trajectories; those that failed or have no turn are left out."""
        rows: list[tuple[Tensor, Tensor]] = []
        for trajectory in trajectories:
            if trajectory.failed or not trajectory.turns:
                continue
            ids = torch.tensor(trajectory.ids)
            mask = torch.tensor(trajectory.turn_of_token) >= 0
            if self.all_tokens:
                mask = torch.ones_like(mask)
            mask[0] = False
            rows.append((ids, mask))
        return rows


@dataclass(frozen=True, slots=True)
class Teacher:
    """An agent that speaks through a function `(env, rng) -> str` of the innermost environment."""

    speak: Callable[[gymnasium.Env[Any, Any], np.random.Generator], str]

    async def reply(self, moment: Moment) -> Reply | None:
        rng = np.random.default_rng(moment.seed)
        try:
            return Reply(await moment.ask_env(lambda: self.speak(moment.env.unwrapped, rng), "the teacher"))
        except Broken as error:
            raise error.__cause__ or error from None  # what a teacher raises is its author's to mend; one that hangs is a failure

    def fork(self, session: str, twin: str) -> None:
        pass

    def release(self, session: str) -> None:
        pass


def texts(trajectories: Sequence[Trajectory]) -> Iterator[str]:
    """Everything said in the trajectories: a corpus for a tokenizer."""
    for trajectory in trajectories:
        for turn in trajectory.turns:
            yield turn.observation
            yield turn.action


def encode(trajectory: Trajectory, template: ChatTemplate) -> Trajectory:
    """The same trajectory with token ids, as a model that said these words would have it. Roles follow from the tool calls."""
    leaf: Turn | None = None
    for turn in trajectory.turns:
        role = "tool" if leaf is not None and leaf.tool_calls else "user"
        context = (
            template.opening(turn.observation) if leaf is None else template.following(leaf.action_ids, turn.observation, role)
        )
        ids = template.reply(turn.action)
        leaf = replace(turn, context_ids=context, action_ids=ids, logprobs=(0.0,) * len(ids), parent=leaf)
    return replace(trajectory, leaf=leaf)


def _batches(
    rows: Sequence[tuple[Tensor, Tensor]], size: int, steps: int, rng: np.random.Generator
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Shuffled batches; within a window of 16 batches rows of like length go together, so that little is padding."""
    window: list[list[int]] = []
    for _ in range(steps):
        if not window:
            wanted = min(16 * size, max(size, len(rows)))
            pool: list[int] = []
            while len(pool) < wanted:
                pool += [int(i) for i in rng.permutation(len(rows))]
            pool = sorted(pool[:wanted], key=lambda i: len(rows[i][0]))
            alike = [pool[start : start + size] for start in range(0, len(pool), size)]
            window = [alike[int(i)] for i in rng.permutation(len(alike))]
        yield [rows[i] for i in window.pop(0)]


def _padded(batch: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    tokens = torch.nn.utils.rnn.pad_sequence([ids for ids, _ in batch], batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([mask for _, mask in batch], batch_first=True)
    return tokens, mask
