"""The learner: per-token advantages and weights in, one or more optimiser steps out. It is blind to methods."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from turnwise.errors import ShapeError, UnknownName
from turnwise.seeds import child
from turnwise.trainers.aggregates import Aggregate, TokenMean
from turnwise.trainers.batch import Batch
from turnwise.trainers.corrections.protocol import Correction
from turnwise.trainers.critic import Critic, ValueHead, turn_starts
from turnwise.trainers.decoupling import decoupled, trust_metrics
from turnwise.trainers.forward import Forward
from turnwise.trainers.kl import k2, k3
from turnwise.trainers.layout import cut, whole
from turnwise.trainers.losses.ppo_clip import PPOClip
from turnwise.trainers.losses.protocol import Loss
from turnwise.trainers.masters import Masters
from turnwise.trainers.monitor import ratio_metrics
from turnwise.trainers.optimizers import AdamW, MuonAdamW
from turnwise.trainers.packing import micro_batches
from turnwise.trainers.ranks import Alone, Ranks, Reads
from turnwise.trainers.tree_packing import TreeForward, tree_batches

__all__ = ["Learner", "LocalLearner", "Update"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What happens to the weights in one training step."""

    loss: Loss = field(default_factory=PPOClip)
    correction: tuple[Correction, ...] = ()
    """What each token weighs for having been sampled by another policy; the weights multiply."""
    aggregate: Aggregate = field(default_factory=TokenMean)
    optimizer: AdamW | MuonAdamW = field(default_factory=AdamW)
    epochs: int = 1
    """Passes over the batch."""
    minibatches: int = 1
    """Optimiser steps a pass; each has its own denominator."""
    kl: float = 0.0
    """Weight of the k2 penalty against the policy at the start of training (its gradient is that of the true KL)."""
    entropy: float = 0.0
    """Weight of the entropy bonus."""
    max_tokens: int = 4096
    """Tokens of one forward pass, padding included: no gradient depends on it. On a CPU small
    passes stay in the cache and are faster."""
    packing: str = "rows"
    """How rows go through the model: "rows", each whole, or "tree", what they have in common at their beginning once."""
    activation_checkpointing: bool = False
    """Keep only what goes into each block for the backward pass, and compute the rest once more there (same gradient)."""
    warmup: int = 0
    """Updates over which the learning rate rises linearly."""
    decay: tuple[int, int] = (0, 0)
    """(from, to): updates between which the learning rate falls linearly to a tenth; (0, 0) is never."""

    def rate(self, version: int) -> float:
        """The factor on the learning rate at the update that makes `version + 1` out of `version`."""
        start, end = self.decay
        left = 1.0 if end <= start else (end - version) / (end - start)
        return min(1.0, (version + 1) / (self.warmup + 1)) * max(0.1, min(1.0, left))


_PACKINGS = {"rows": (Forward, micro_batches), "tree": (TreeForward, tree_batches)}


class Learner(Protocol):
    """Where gradients happen: in this process, or on a cluster."""

    version: int

    def annotate(self, batch: Batch) -> Batch:
        """The batch with what estimators may need from the model (a critic's values)."""
        ...

    def update(self, batch: Batch, advantages: Tensor, targets: Tensor | None = None) -> dict[str, float]:
        """Change the weights. `advantages` [B, T]; `targets` [B, K] for the critic. Returns metrics."""
        ...

    def weights(self) -> Mapping[str, Any]:
        """The model's parameters by name, for engines."""
        ...

    @property
    def vocabulary(self) -> int:
        """Entries of the model's, at least 1."""
        ...

    def score(self, ids: Sequence[int]) -> list[float]:
        """[len(ids) - 1] log-probability (nats, temperature 1) of each token but the first: what an engine must say too."""
        ...

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
    def close(self) -> None: ...


class LocalLearner:
    """One model on one device, or one rank's part of it. `version` counts the updates."""

    def __init__(
        self,
        model: PreTrainedModel,
        update: Update,
        *,
        temperature: float = 1.0,
        critic: Critic | None = None,
        seed: int = 0,
        ranks: Ranks | None = None,
    ) -> None:
        """`temperature` is the sampling temperature: behaviour and current log-probabilities must be of the same distribution.

        With several `ranks` every method is one that all of them call, with the same arguments.
        """
        self.model, self.settings, self.seed, self.version = model, update, seed, 0
        self._ranks = ranks or Alone()
        model.eval()  # and so it stays: with dropout the trainer's policy would not be the one that sampled
        if update.packing not in _PACKINGS:
            raise UnknownName("packing", update.packing, _PACKINGS)
        forward, self._parts = _PACKINGS[update.packing]
        reference = _frozen_copy(model) if update.kl else None
        learning = partial(forward, checkpointing=update.activation_checkpointing)
        self.forward: Reads = self._ranks.place(learning, model, temperature)
        self._reference = self._ranks.place(forward, reference, temperature) if reference is not None else None
        self._optimizers = update.optimizer.build(model)
        self._masters = Masters(self._optimizers)
        self._rates = [[g["lr"] for g in o.param_groups] for o in self._optimizers]
        self._critic: ValueHead | None = None
        self._proximal: Tensor | None = None
        self._features: Tensor | None = None
        self._token_features: Tensor | None = None
        if critic is not None:
            config = cast(Any, model.config)
            dtype = torch.promote_types(model.dtype, torch.float32)
            self._critic = ValueHead(config.hidden_size, critic, device=model.device, dtype=dtype)

    @torch.no_grad()
    def annotate(self, batch: Batch) -> Batch:
        if self._critic is None:
            return batch
        starts = turn_starts(batch)
        size = int(cast(Any, self.model.config).hidden_size)
        dtype = torch.promote_types(self.model.dtype, torch.float32)
        features = torch.zeros(*starts.shape, size, dtype=dtype)
        per_token = self._critic.settings.level == "token"
        before = torch.zeros(int(batch.mask.sum()) if per_token else 0, size, dtype=dtype)
        place = (batch.mask.flatten().cumsum(0) - 1).reshape(batch.mask.shape)
        for rows in self._ranks.deal(self._parts(batch, self.settings.max_tokens)):
            part = batch.rows(rows).trim()
            hidden = self.forward.hidden(part.tokens.to(self.model.device), part.lengths).to(features)
            features[rows] = hidden.gather(1, starts[rows][:, :, None].expand(-1, -1, size))
            if per_token:
                sampled = part.mask[:, 1:]
                before[place[rows][:, 1 : part.tokens.shape[1]][sampled]] = hidden[:, :-1][sampled]
        features, before = self._ranks.total(features), self._ranks.total(before)
        self._features, self._token_features = features, before if per_token else None
        batch = replace(batch, values=self._critic.values(features.to(self.model.device)).to(batch.rewards))
        if per_token:
            values = self._critic.values(before.to(self.model.device)).to(batch.rewards)
            batch = replace(batch, token_values=torch.zeros_like(batch.logprobs).masked_scatter(batch.mask, values))
        return batch

    def update(self, batch: Batch, advantages: Tensor, targets: Tensor | None = None) -> dict[str, float]:
        if advantages.shape != batch.tokens.shape:
            raise ShapeError(f"update: advantages are {tuple(advantages.shape)}, expected [B, T] = {tuple(batch.tokens.shape)}.")
        metrics = {"grad_norm": 0.0, "steps_skipped": 0.0}
        seen = _Seen.empty(batch, self.settings.minibatches == 1, bool(self.settings.correction))
        steps = self.settings.epochs * self.settings.minibatches
        self._proximal = self._before(batch) if self.settings.correction and steps > 1 else None
        for epoch in range(self.settings.epochs):
            for rows in self._minibatches(batch, epoch):
                norm = self._step(batch.rows(rows), advantages[rows], seen if epoch == 0 else None, rows)
                metrics["grad_norm"] = float(np.maximum(metrics["grad_norm"], norm))  # max() would lose a nan
                metrics["steps_skipped"] += not _moves(norm)
        seen.add_up(self._ranks)
        if self._critic is not None and targets is not None:
            metrics["critic_loss"] = self._fit(self._critic, batch, targets)
        self.version += 1
        return {**seen.metrics(batch), **metrics}

    def _fit(self, critic: ValueHead, batch: Batch, targets: Tensor) -> float:
        """Towards targets [B, K] at turn starts or [B, T] before tokens, with the features of the last `annotate`."""
        if self._features is None:
            raise ShapeError("update: targets for the critic, but the batch was not annotated; call annotate first.")
        if self._token_features is None:
            batch.check("update", targets=(targets, "BK"))
            features, mask = self._features[:, :-1].to(self.model.device), batch.turn_mask
        else:
            batch.check("update", targets=(targets, "BT"))
            features, targets = self._token_features.to(self.model.device), targets[batch.mask]
            mask = torch.ones_like(targets, dtype=torch.bool)
        return critic.fit(features, targets.to(features), mask.to(features.device))

    def _minibatches(self, batch: Batch, epoch: int) -> list[Tensor]:
        count = len(batch.tokens)
        if self.settings.minibatches == 1:
            return [torch.arange(count)]
        rng = np.random.default_rng(child(self.seed, "minibatch", self.version, epoch))
        return list(torch.from_numpy(rng.permutation(count)).tensor_split(min(self.settings.minibatches, count)))

    def _step(self, batch: Batch, advantages: Tensor, seen: _Seen | None, rows: Tensor) -> float:
        """One optimiser step; the gradient's norm before clipping. `seen` collects what the forward pass found."""
        weights = self.settings.aggregate(batch)
        moving = self._moving(batch, advantages)
        for at in self._ranks.deal(self._parts(batch.rows(moving), self.settings.max_tokens)) if len(moving) else []:
            part = moving[at]
            short = batch.rows(part).trim()
            width = short.tokens.shape[1]
            self._backward(short, advantages[part, :width], weights[part, :width], seen, rows[part])
        parameters = [p for o in self._optimizers for g in o.param_groups for p in g["params"]]
        norm = float(whole(torch.nn.utils.clip_grad_norm_(parameters, self.settings.optimizer.max_grad_norm)))
        scale = self.settings.rate(self.version)
        for optimizer, rates in zip(self._optimizers, self._rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * scale
            if _moves(norm):
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self._masters.give()
        return norm

    @torch.no_grad()
    def _before(self, batch: Batch) -> Tensor:
        """[B, T] log-probabilities of the sampled tokens before the first step of the batch."""
        out = torch.zeros_like(batch.logprobs)
        for rows in self._ranks.deal(self._parts(batch, self.settings.max_tokens)):
            part = batch.rows(rows).trim()
            logp, _ = self.forward(part.tokens.to(self.model.device), part.mask.to(self.model.device), entropy=False)
            out[rows, : logp.shape[1]] = logp.to(out)
        return self._ranks.total(out)

    def _moving(self, batch: Batch, advantages: Tensor) -> Tensor:
        """[R] rows that can have a gradient. Those of groups without variance have none, and cost no forward pass; they stay in
        the denominator."""
        rows = batch.mask.any(1)
        if not self.settings.entropy and self._reference is None:
            rows &= advantages.ne(0).any(1)
        return rows.nonzero()[:, 0]

    def _backward(self, batch: Batch, advantages: Tensor, weights: Tensor, seen: _Seen | None, rows: Tensor) -> None:
        device = self.model.device
        mask = batch.mask
        tokens = batch.tokens.to(device)
        logp, entropy = self.forward(tokens, mask.to(device), entropy=self.settings.entropy != 0)
        logp = logp.to(batch.logprobs.device)
        if self.settings.correction:
            before = logp.detach() if self._proximal is None else self._proximal[rows][:, : logp.shape[1]].to(logp)
            trust, batch = decoupled(self.settings.correction, before, batch)
            weights = weights * trust
            if seen is not None:
                seen.trust[rows, : logp.shape[1]] = trust.to(seen.trust)
        loss = self.settings.loss(logp, advantages.to(logp), batch)
        if self.settings.entropy:
            loss = loss - self.settings.entropy * entropy.to(loss)
        if self._reference is not None:
            with torch.no_grad():
                reference, _ = self._reference(tokens, mask.to(device), entropy=False)
            loss = loss + self.settings.kl * k2(logp, reference.to(logp)) * mask
            if seen is not None:
                seen.reference[rows, : logp.shape[1]] = (k3(logp, reference.to(logp)) * mask).detach().to(seen.reference)
        (loss * weights).sum().backward()
        self._masters.take()
        if seen is not None:
            seen.rows[rows] = True
            seen.logprobs[rows, : logp.shape[1]] = logp.detach().to(seen.logprobs)
            seen.entropies[rows, : logp.shape[1]] = entropy.detach().to(seen.entropies)
            seen.loss += float((loss * weights).sum().detach())

    def weights(self) -> Mapping[str, Any]:
        return self._gathered(self.model)

    @property
    def vocabulary(self) -> int:
        return int(cast(Any, self.model).get_input_embeddings().weight.shape[0])

    @torch.no_grad()
    def score(self, ids: Sequence[int]) -> list[float]:
        tokens = torch.tensor([list(ids)], device=self.model.device)
        logits = cast(Tensor, self._ranks.run(self.model, lambda: self.model(input_ids=tokens, use_cache=False).logits))
        return logits[0, :-1].float().log_softmax(-1).gather(1, tokens[0, 1:, None])[:, 0].tolist()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the model's own weights. Of several ranks the first one has it."""
        return {
            "version": self.version,
            "optimizers": [_each(o.state_dict(), self._ranks.gather) for o in self._optimizers],
            "masters": [self._ranks.gather(master) for master in self._masters.tensors],
            "critic": self._critic.state_dict() if self._critic else None,
            "reference": self._gathered(self._reference.model) if self._reference else None,
        }

    def _gathered(self, model: PreTrainedModel) -> dict[str, Tensor]:
        """The parameters and buffers by name; tied ones are one tensor, as they were."""
        own: dict[str, Tensor] = model.state_dict(keep_vars=True)
        once = {id(tensor): self._ranks.gather(tensor.detach()) for tensor in own.values()}
        return {name: once[id(tensor)] for name, tensor in own.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.version = int(state["version"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            parameters = [p for g in optimizer.param_groups for p in g["params"]]
            own = {i: {k: cut(v, parameters[i]).clone() for k, v in slots.items()} for i, slots in saved["state"].items()}
            optimizer.load_state_dict({**saved, "state": own})
        kept = zip(state.get("masters", ()), self._masters.tensors, strict=False)
        self._masters.load([cut(saved, like) for saved, like in kept])
        if self._critic is not None:
            self._critic.load_state_dict(state["critic"])
        if self._reference is not None:
            own = self._reference.model.state_dict()
            self._reference.model.load_state_dict({name: cut(v, own[name]) for name, v in state["reference"].items()})

    def close(self) -> None:
        """Nothing but memory is held."""


@dataclass(slots=True)
class _Seen:
    """What the first pass of an update found, row by row: the numbers behind its metrics."""

    rows: Tensor
    """[B] bool; rows that went through the model."""
    logprobs: Tensor
    entropies: Tensor
    reference: Tensor
    trust: Tensor
    """What the corrections made of each token's weight."""
    whole: bool
    """All rows were seen with the weights that sampled them: ratios to the behaviour policy are then pure error."""
    corrected: bool = False
    loss: float = 0.0

    @staticmethod
    def empty(batch: Batch, whole: bool, corrected: bool) -> _Seen:
        per_token = [torch.zeros_like(batch.logprobs) for _ in range(4)]
        return _Seen(torch.zeros_like(batch.failed), *per_token, whole=whole, corrected=corrected)

    def add_up(self, ranks: Ranks) -> None:
        """Each rank has seen its own rows; now all have seen all."""
        self.rows = ranks.total(self.rows.long()).bool()
        for name in ("logprobs", "entropies", "reference", "trust"):
            setattr(self, name, ranks.total(getattr(self, name)))
        self.loss = float(ranks.total(torch.tensor(self.loss, dtype=torch.float64)))

    def metrics(self, batch: Batch) -> dict[str, float]:
        at = self.rows.nonzero()[:, 0]
        out = {"loss": self.loss, "rows_trained": float(len(at))}
        if not len(at):  # collapse looks like this: the engine's own entropies keep the alarm awake
            return out | {"entropy": float((batch.entropies * batch.mask).sum()) / max(1, int(batch.mask.sum()))}
        part = batch.rows(at)
        tokens = max(1, int(part.mask.sum()))
        out["entropy"] = float((self.entropies[at] * part.mask).sum()) / tokens
        if self.whole:
            out |= ratio_metrics(self.logprobs[at], part)
        if self.corrected:
            out |= trust_metrics(self.trust[at], part)
        if bool(self.reference.any()):
            out["kl_reference"] = float(self.reference.sum()) / tokens
        return out


def _moves(norm: float) -> bool:
    """Whether a gradient of that norm is one to follow: momentum and weight decay alone are not to move the policy."""
    return math.isfinite(norm) and norm > 0


def _each(state: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nested state with each tensor changed."""
    match state:
        case Tensor():
            return change(state)
        case Mapping():
            return {key: _each(value, change) for key, value in cast("Mapping[Any, Any]", state).items()}
        case _:
            return state


def _frozen_copy(model: PreTrainedModel) -> PreTrainedModel:
    twin = copy.deepcopy(model).eval()
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return twin
