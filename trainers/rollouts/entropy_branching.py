"""Entropy-driven branching: forks leave where a tool's answer made the policy unsure (ARPO, arXiv:2507.19849)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from turnwise.errors import ConfigError
from turnwise.trainers.branching import Branching, entropy_rise, lot
from turnwise.trainers.rollouts.protocol import Ended, Event, Grow, Sampled

__all__ = ["EntropyBranching"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntropyBranching:
    """`initial` trajectories start at the task; the rest of `size` is spent on forks after tool results, by entropy.

        H(reply) = (sum of the entropies of its first `tokens` tokens) / ln `vocabulary`
        rise     = H(reply after a tool result) - H(first reply of the same trajectory)
        Pr(fork) = clip(base + weight * rise, 0, 1)

    The entropy is that of the reply which follows the tool result, as in the paper (the release reads the reply before the
    call), over the whole vocabulary (the release: its ten likeliest entries). The fork leaves between the tool's result and that
    reply, so the reply that was sampled stays with its own trajectory and nothing is thrown away. At most `width` - 1 forks leave
    one node. What is left of `size` when the last live trajectory has ended goes to fresh ones from the task (the release fills
    up with copies of the last trajectory, which biases the group's mean).

    Credit: `advantage = "tree"` with `credit = "soft"` or `"hard"` are the paper's; a fork weighs a shared turn once.
    """

    size: int = 8
    initial: int = 4
    base: float = 0.5
    weight: float = 0.2
    width: int = 2
    tokens: int = 20
    vocabulary: int = 1024
    """Entries of the model's vocabulary: the entropies are measured in shares of its logarithm."""

    def __post_init__(self) -> None:
        if not 1 <= self.initial <= self.size:
            raise ConfigError(f"rollout.initial: expected 1 to size ({self.size}), got {self.initial}.")
        for name, least in (("width", 1), ("tokens", 1), ("vocabulary", 2)):
            if getattr(self, name) < least:
                raise ConfigError(f"rollout.{name}: expected at least {least}, got {getattr(self, name)}.")

    def start(self, rng: np.random.Generator) -> Branching:
        return Branching(int(rng.integers(2**63))).wish(*[Grow()] * self.initial)

    def ask(self, state: Branching) -> tuple[Sequence[Grow], Branching]:
        return state.asked()

    def tell(self, state: Branching, event: Event) -> Branching:
        if isinstance(event, Ended):
            return state.ended().filled(self.size)
        if not isinstance(event, Sampled) or event.node is None or not event.node.tool_calls or event.node in state.decided:
            return state
        node = event.node
        state = replace(state, decided=state.decided | {node})
        chance = self.base + self.weight * entropy_rise(node, event.reply, self.tokens, self.vocabulary)
        room = min(self.width - 1, self.size - state.begun)
        forks = sum(lot(state.seed, node, slot) < chance for slot in range(room))
        return replace(state, branched=state.branched | {node}).wish(*[Grow(node)] * forks) if forks else state
